//! Sends a request again when that may help, may be done, and can be afforded.
//!
//! An attempt goes wrong in one of three ways. Nothing was sent: the request goes out again at once, whatever
//! it is. The server says that it did not do the work: gRPC's UNAVAILABLE. Or nobody can tell, as after a
//! broken connection or a `502`: then only a request that may be carried out twice is sent again. All but
//! the first kind are limited by a [`Budget`], and wait by a [`Backoff`].
//!
//! Attempts have a body that can be read again. A service that takes one type of body only, as most clients do, is given it by
//! a line of tower's; of tonic's `Channel` that line maps to `tonic::body::Body::new`.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
//! use micro_balance::retry::{ReplayBody, RetryLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! type Body = UnsyncBoxBody<Bytes, BoxError>;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let client = service_fn(|request: Request<Body>| async { Ok::<_, BoxError>(Response::new(request.into_body())) });
//! let retries = ServiceBuilder::new()
//!     .layer(RetryLayer::new())
//!     .map_request(|attempt: Request<ReplayBody<_>>| attempt.map(Body::new))
//!     .service(client);
//! let answer = retries.oneshot(Request::new(Full::from("John"))).await?;
//! assert_eq!(answer.into_body().collect().await?.to_bytes(), "John");
//! # Ok(())
//! # }
//! ```

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
