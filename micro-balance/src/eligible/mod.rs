//! Which endpoints a request may go to, before a policy chooses among them.
//!
//! Each step is a file of its own and can be used alone. They are taken in this order whenever a snapshot is
//! built, off the request path:
//!
//! | step | leaves |
//! |---|---|
//! | [`Subset`] | a part of all endpoints, for each client its own; the others are not even connected |
//! | weight 0 | those that are not drained, unless all are |
//! | [`Priority`] | the first level that is well, or shares of several |
//! | health | those that are connected and not ejected, degraded ones where the others are too few, or all in [panic](crate::Ejection::panic_percent) |
//! | [`Locality`] | those nearby, or shares of zones |
//! | [`SlowStart`] | all, those that are new with less weight |
//!
//! Where a step cannot do what it is there for it gives way, and [`Fallbacks`] counts the requests that this
//! concerned.

mod fallbacks;
pub mod locality;
mod panic;
mod plan;
pub mod priority;
mod slow_start;
mod subset;

pub use self::{
    fallbacks::Fallbacks, locality::Locality, priority::Priority, slow_start::SlowStart, subset::Subset,
};
pub(crate) use self::{
    fallbacks::{Counters, Marks},
    plan::{Candidate, Panic, Standing},
    priority::Waits,
};

/// Every step's settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Eligibility {
    pub(crate) subset: Option<Subset>,
    pub(crate) priority: Priority,
    pub(crate) locality: Locality,
    pub(crate) slow_start: Option<SlowStart>,
}

impl Eligibility {
    /// Whether all endpoints of one priority that are well are chosen from as one group.
    pub(crate) fn is_plain(&self) -> bool {
        self.subset.is_none() && self.locality.is_any() && self.slow_start.is_none()
    }
}
