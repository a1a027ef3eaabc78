//! What the parts of a sidecar share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use micro_broker::Broker;
use micro_discover::Registry;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::held::Held;
use crate::api::{Cors, Gateway, Observer};
use crate::call::Caller;
use crate::catalog::Catalog;
use crate::proxy::Origins;

/// The face that errors come from.
pub(super) const ID: &str = "go.micro.sidecar";

/// What the parts of a sidecar share.
pub(super) struct Inner {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) gateway: Gateway,
    pub(super) caller: Caller,
    /// Every service, from when somebody first watches all of them.
    pub(super) catalog: OnceLock<Catalog>,
    pub(super) held: Held,
    pub(super) app: Option<App>,
    pub(super) origins: Origins,
    /// What browsers are told of them.
    pub(super) cors: Cors,
    /// The pages of other hosts among them.
    pub(super) friends: Vec<String>,
    pub(super) token: Option<String>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// Services that do not say what they can be asked, and since when.
    pub(super) silent: Mutex<HashMap<String, Instant>>,
    /// Room for what stays open: sockets and streams of events.
    pub(super) open: Arc<Semaphore>,
    /// Ends what stays open, and the app's announcement.
    pub(super) stop: CancellationToken,
}

/// Without the token.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("registry", &self.registry)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}
