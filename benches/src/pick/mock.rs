//! The endpoint of these benches: always ready, answers at once.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower::{Service, discover::ServiceList};

/// Answers a number with itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mock;

impl Service<u64> for Mock {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

/// What discovers `count` of them.
pub(crate) fn mocks(count: usize) -> ServiceList<Vec<Mock>> {
    ServiceList::new::<u64>(vec![Mock; count])
}
