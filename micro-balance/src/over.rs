//! What of a balancer has come to an end, so that there is nothing more to wait for.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::error::Nobody;

/// Set before those who wait are woken.
#[derive(Debug, Default)]
pub(crate) struct Over {
    discovery: OnceLock<Arc<str>>,
    task: AtomicBool,
}

impl Over {
    /// Discovery says nothing any more, for this reason.
    pub(crate) fn end_discovery(&self, why: impl Into<Arc<str>>) {
        // It ends once.
        let _ = self.discovery.set(why.into());
    }

    /// The balancer's own task is gone: nobody is connected any more.
    pub(crate) fn end_task(&self) {
        self.task.store(true, Relaxed);
    }

    /// Why nobody is known, nor ever will be.
    pub(crate) fn nobody(&self) -> Option<Nobody> {
        self.discovery.get().cloned().or_else(|| self.task().map(Arc::from)).map(Nobody::Over)
    }

    /// Why nobody is connected any more.
    pub(crate) fn task(&self) -> Option<&'static str> {
        self.task.load(Relaxed).then_some(
            "the balancer's own task is gone, as happens when the Tokio runtime ends that it was built on",
        )
    }
}
