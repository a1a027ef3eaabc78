//! What holds for every endpoint of a balancer, fixed when it is built.

use tokio::time::Instant;

use crate::{eject::Ejection, ewma::Timing};

#[derive(Debug)]
pub(crate) struct Settings {
    /// Times of the figures are counted from here.
    pub(crate) epoch: Instant,
    /// How the policy wants latencies measured; `None` saves two readings of the clock a request.
    pub(crate) timing: Option<Timing>,
    pub(crate) ejection: Ejection,
}
