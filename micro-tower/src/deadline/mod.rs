//! One absolute instant by which a call has to be over, wherever it goes.
//!
//! A server reads it from `grpc-timeout`; whatever its handler calls inherits it; each attempt of such a call
//! tells the next server what is left. So nobody works for a caller who has given up.
//!
//! | layer | goes |
//! |---|---|
//! | [`ServerDeadlineLayer`] | around a server's handlers |
//! | [`DeadlineLayer`] | around a client, outside of retries |
//! | [`AttemptDeadlineLayer`] | around one attempt of a client's call, inside of retries |
//!
//! The deadline in force travels with the task, see [`Deadline::current`]. Work that a handler hands to
//! another task keeps it by [`Deadline::scope`].
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use micro_tower::deadline::{AttemptDeadlineLayer, Deadline, DeadlineLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // The layers of a client, around what sends its requests.
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new().timeout(Duration::from_secs(60)))
//!     .layer(AttemptDeadlineLayer)
//!     .service_fn(|request: Request<()>| async move {
//!         let left = micro_balance::grpc_timeout::decode(&request.headers()["grpc-timeout"]);
//!         assert!(left <= Some(Duration::from_secs(1)));
//!         Ok::<_, BoxError>(Response::new(String::new()))
//!     });
//!
//! // In a handler that has a second left, and gives its call no more.
//! Deadline::after(Duration::from_secs(1)).scope(client.oneshot(Request::new(()))).await?;
//! # Ok(())
//! # }
//! ```

mod attempt;
mod body;
mod client;
mod expired;
mod server;

use std::{future::Future, time::Duration};

use http::Request;
use tokio::time::Instant;

pub use self::{
    attempt::{AttemptDeadline, AttemptDeadlineLayer, AttemptFuture},
    body::DeadlineBody,
    client::{ClientDeadline, ClientFuture, DeadlineLayer},
    expired::Expired,
    server::{ServerDeadline, ServerDeadlineLayer, ServerFuture},
};
use crate::endless::bounded;

tokio::task_local! {
    static CURRENT: Deadline;
}

/// The instant by which a call has to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// `timeout` from now, thirty years at most.
    pub fn after(timeout: Duration) -> Self {
        Self::after_from(Instant::now(), timeout)
    }

    fn after_from(now: Instant, timeout: Duration) -> Self {
        Self(now + bounded(timeout))
    }

    /// This very instant.
    pub fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The deadline that this task works under: of the request a server is handling, for example.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|deadline| *deadline).ok()
    }

    /// The deadline in the extensions of `request`, where a server layer put it, or a caller.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get().copied()
    }

    /// The instant itself.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The time that is left, zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.0 <= Instant::now()
    }

    /// Runs `future` under this deadline: what it calls inherits it. Does not end it.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs `f` under `deadline`, if there is one.
    fn enter<T>(deadline: Option<Self>, f: impl FnOnce() -> T) -> T {
        match deadline {
            Some(deadline) => CURRENT.sync_scope(deadline, f),
            None => f(),
        }
    }
}
