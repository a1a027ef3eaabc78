//! tower's balancer, as it is and as it can be shared.

use std::time::Duration;

use tower::{
    BoxError, Service,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, Constant, PeakEwmaDiscover, PendingRequestsDiscover},
};

use super::{
    case::{Exclusive, Named, Shared},
    mock::{Mock, mocks},
};

pub(super) const EXCLUSIVE: &str = "tower &mut Balance<PendingRequests>";
/// What tonic's `balance_list` is made of: all loads are the same to it.
pub(super) const BUFFER_CONSTANT: &str = "tower Buffer(Balance<Constant>)";
/// The balancer that the claim on least request is about.
pub(super) const BUFFER_PENDING: &str = "tower Buffer(Balance<PendingRequests>)";
/// The balancer that the claim on peak EWMA is about.
pub(super) const BUFFER_EWMA: &str = "tower Buffer(Balance<PeakEwma>)";

/// The room in front of a balancer: more than there are tasks.
const ROOM: usize = 1024;

/// Every case, over `count` endpoints. Needs a runtime, for the tasks of the buffers.
pub(super) fn cases(count: usize) -> Vec<Named> {
    vec![
        Named::new(EXCLUSIVE, Exclusive(Balance::new(pending(count)))),
        Named::new(BUFFER_CONSTANT, Shared(buffer(Balance::new(Constant::new(mocks(count), 0))))),
        Named::new(BUFFER_PENDING, Shared(buffer(Balance::new(pending(count))))),
        Named::new(BUFFER_EWMA, Shared(buffer(Balance::new(ewma(count))))),
    ]
}

fn pending(count: usize) -> PendingRequestsDiscover<ServiceList<Vec<Mock>>> {
    PendingRequestsDiscover::new(mocks(count), CompleteOnResponse::default())
}

/// With the default latency and the decay of our own policy.
fn ewma(count: usize) -> PeakEwmaDiscover<ServiceList<Vec<Mock>>> {
    let (latency, decay) = (Duration::from_millis(30), Duration::from_secs(10));
    PeakEwmaDiscover::new::<u64>(mocks(count), latency, decay, CompleteOnResponse::default())
}

fn buffer<S>(service: S) -> Buffer<u64, S::Future>
where
    S: Service<u64, Error: Into<BoxError> + Send + Sync, Future: Send> + Send + 'static,
{
    Buffer::new(service, ROOM)
}
