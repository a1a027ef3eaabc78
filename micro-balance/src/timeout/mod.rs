//! Gives up on what takes too long: a call, one of its attempts, or a response that stops in the middle or has no end.

mod elapsed;
mod idle;
mod layer;
mod progress;
mod share;

pub use elapsed::{Elapsed, Phase};
pub use idle::{IdleBody, IdleFuture, IdleTimeout, IdleTimeoutLayer};
pub use layer::{ResponseFuture, Timeout, TimeoutLayer};
pub use progress::Progress;
pub(crate) use share::TimeShare;
pub use share::{SharedTimeout, SharedTimeoutLayer};
