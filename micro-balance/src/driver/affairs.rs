//! What the driver has to remember of an endpoint while there is something the matter with it.

use std::sync::Arc;

use futures_util::future::AbortHandle;
use tokio::time::Instant;

use crate::{eject::Reason, shared::AbortOnDrop};

/// What most endpoints have nothing of: one that is connected, and never was ejected.
pub(super) struct Affairs {
    /// Stops the attempt that is under way.
    pub(super) dialing: Option<AbortHandle>,
    /// Attempts in a row that failed.
    pub(super) failures: u32,
    pub(super) last_error: Option<Arc<str>>,
    pub(super) health: Health,
    /// The task that checks it.
    pub(super) checker: Option<AbortOnDrop>,
    /// The task that listens to its reports of load.
    pub(super) listener: Option<AbortOnDrop>,
    /// Ejections in a row: each lasts longer than the one before, and a clean interval takes one back.
    pub(super) ejections: u32,
    /// Which ejection this is, ever: timers of earlier ones are stale.
    pub(super) turn: u64,
    pub(super) reason: Option<Reason>,
    /// For how many intervals in a row it has been too slow.
    pub(super) slow: u32,
    /// Since when it has been ready, but for short breaks, where those that are new start slowly.
    pub(super) since: Option<Instant>,
}

/// What passive checks make of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    Ejected,
    HalfOpen,
}

impl Affairs {
    /// Nothing the matter.
    pub(super) const NONE: Self = Self {
        dialing: None,
        failures: 0,
        last_error: None,
        health: Health::Well,
        checker: None,
        listener: None,
        ejections: 0,
        turn: 0,
        reason: None,
        slow: 0,
        since: None,
    };

    /// Whether there is nothing to remember.
    pub(super) fn are_none(&self) -> bool {
        let tasks = self.dialing.is_some() || self.checker.is_some() || self.listener.is_some();
        // Who failed has an error, and who is not well was ejected once.
        let attempts = self.last_error.is_some();
        let ejected = self.turn > 0 || self.slow > 0;
        !(tasks || attempts || ejected || self.since.is_some())
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use super::*;

    fn task() -> Option<AbortOnDrop> {
        Some(AbortOnDrop(tokio::spawn(async {}).abort_handle()))
    }

    #[tokio::test]
    async fn whatever_there_is_to_remember_is_remembered_and_nothing_else() {
        assert!(Affairs::NONE.are_none());
        let some = [
            Affairs { dialing: Some(AbortHandle::new_pair().0), ..Affairs::NONE },
            Affairs { checker: task(), ..Affairs::NONE },
            Affairs { listener: task(), ..Affairs::NONE },
            Affairs { last_error: Some("refused".into()), ..Affairs::NONE },
            Affairs { turn: 1, ..Affairs::NONE },
            Affairs { slow: 1, ..Affairs::NONE },
            Affairs { since: Some(Instant::now()), ..Affairs::NONE },
        ];
        assert!(some.iter().all(|affairs| !affairs.are_none()));
    }
}
