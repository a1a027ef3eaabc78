//! What the endpoints of one balancer have in common, and how they tell its driver what happens to them.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use tokio::sync::mpsc;

use crate::{condition::Condition, eject::Reason, settings::Settings};

/// What the endpoints of one balancer have in common.
pub(crate) struct Home {
    pub(super) settings: Arc<Settings>,
    reports: mpsc::UnboundedSender<Report>,
    /// The balancer they belong to, for a request that comes back. Its type is the balancer's secret, so
    /// that figures and policies need not name it; weak, as the balancer holds its endpoints.
    balancer: Weak<dyn Any + Send + Sync>,
}

/// What a request tells the driver about an endpoint. An endpoint has at most one of each kind on the way,
/// so the queue is bounded by the number of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Its service was not ready when a request came.
    Lost(u64),
    /// It failed as often in a row as is allowed.
    Failing(u64, Reason),
    /// Active checks find it so from now on.
    Checked(u64, Condition),
    /// The one request let through while it is half open ended, well or not.
    Probed(u64, bool),
}

impl Home {
    pub(crate) fn new(
        settings: Arc<Settings>,
        reports: mpsc::UnboundedSender<Report>,
        balancer: Weak<dyn Any + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self { settings, reports, balancer })
    }

    /// The balancer, if it is still there and of this type.
    pub(super) fn balancer<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.balancer.upgrade()?.downcast().ok()
    }

    pub(super) fn report(&self, report: Report) {
        // Without a driver there is nobody to tell, and nothing left to decide.
        let _ = self.reports.send(report);
    }
}
