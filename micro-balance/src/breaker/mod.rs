//! Leaves a service alone that keeps failing, and lets one request at a time find out whether it is well again.
//!
//! For a service by itself: one database, one third party. Among several endpoints [`Ejection`](crate::Ejection) does more,
//! as it compares them, and never leaves all of them out.

mod judge;
mod layer;
mod rate;
mod record;

pub use self::{
    judge::{Judge, JudgedBody},
    layer::{Breaker, BreakerLayer, ResponseFuture},
    rate::Rate,
    record::{Pass, State},
};
