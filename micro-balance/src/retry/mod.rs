//! Sends a request again when that may help, may be done, and can be afforded.
//!
//! An attempt goes wrong in one of three ways. Nothing was sent: the request goes out again at once, whatever
//! it is. The server says that it did not do the work: gRPC's UNAVAILABLE. Or nobody can tell, as after a
//! broken connection or a `502`: then only a request that may be carried out twice is sent again. All but
//! the first kind are limited by a [`Budget`], and wait by a [`Backoff`].

mod backoff;
mod budget;
mod call;
mod figures;
mod head;
mod held;
mod kept;
mod layer;
mod peek;
mod replay;
mod response;
mod when;

pub use backoff::{Backoff, Jitter};
pub use budget::Budget;
pub use layer::{Retry, RetryLayer};
pub use peek::PeekBody;
pub use replay::{Abandoned, ReplayBody};
pub use response::ResponseFuture;
pub use when::When;
pub(crate) use {
    head::Head,
    replay::Replay,
    when::{Kind, Verdict},
};
