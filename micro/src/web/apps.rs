//! The web apps of a registry.

use std::time::Duration;

use crate::proxy::{Directory, Forwarding, Origins, Tunnels};

/// What errors come from.
pub(super) const ID: &str = "go.micro.web";
/// How long an app may take to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// WebSockets at a time.
const TUNNELS: usize = 1024;

/// The web apps, and how requests get to them.
#[derive(Clone, Debug)]
pub(super) struct Apps {
    pub(super) directory: Directory,
    pub(super) forwarding: Forwarding,
}

impl Apps {
    pub(super) fn new(directory: Directory) -> Self {
        let forwarding = Forwarding {
            id: ID,
            timeout: ANSWER_WITHIN,
            origins: Origins::default(),
            tunnels: Tunnels::new(TUNNELS),
            resend: None,
        };
        Self { directory, forwarding }
    }
}
