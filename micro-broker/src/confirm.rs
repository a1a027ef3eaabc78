//! The future of everything a broker confirms: a publication, an acknowledgement.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::error::Error;

/// Resolves once the broker has confirmed, as far as the backend can.
///
/// A backend that knows the answer at once allocates nothing.
#[must_use = "nothing is confirmed until this is awaited"]
pub struct Confirm {
    inner: Inner,
}

enum Inner {
    Known(Option<Result<(), Error>>),
    Awaited(BoxFuture<'static, Result<(), Error>>),
}

impl Confirm {
    /// The answer is known.
    pub fn known(result: Result<(), Error>) -> Self {
        Self { inner: Inner::Known(Some(result)) }
    }

    /// The answer is awaited.
    pub fn awaited(answer: impl Future<Output = Result<(), Error>> + Send + 'static) -> Self {
        Self { inner: Inner::Awaited(Box::pin(answer)) }
    }
}

impl Future for Confirm {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.inner {
            // Polled after its end, it stays pending, as a fused future may.
            Inner::Known(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            Inner::Awaited(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl std::fmt::Debug for Confirm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirm").field("known", &matches!(self.inner, Inner::Known(_))).finish()
    }
}
