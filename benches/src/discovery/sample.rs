//! A connection that is ready or never will be.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower::Service;

/// Answers a number with itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) ready: bool,
}

impl Service<u64> for Sample {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}
