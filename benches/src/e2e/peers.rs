//! tonic's own channel and balancer, and tower's balancer over channels.

use std::net::SocketAddr;

use tonic::transport::{Channel, Endpoint};
use tower::{
    BoxError,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequestsDiscover},
};

use super::load::{Mode, Over};

/// What the claim on one endpoint is held against.
pub(super) const CHANNEL: &str = "tonic Channel";
/// What the claim on ten endpoints is held against.
pub(super) const BALANCE_LIST: &str = "tonic balance_list/10";

/// The room in front of a balancer: tonic's own default.
const ROOM: usize = 1024;

/// Every mode, over the first or all of `addresses`. Needs a runtime.
pub(super) fn modes(addresses: &[SocketAddr]) -> Result<Vec<Mode>, BoxError> {
    let endpoints = endpoints(addresses)?;
    let first = endpoints.first().ok_or("there is no server")?;
    Ok(vec![
        Mode::new(CHANNEL, Over(first.connect_lazy())),
        Mode::new("tonic balance_list/1", Over(Channel::balance_list([first.clone()].into_iter()))),
        Mode::new(BALANCE_LIST, Over(Channel::balance_list(endpoints.iter().cloned()))),
        Mode::new("tower Buffer(Balance<Pending>)/10", {
            let channels = ServiceList::new::<http::Request<tonic::body::Body>>(channels(addresses)?);
            let balance = Balance::new(PendingRequestsDiscover::new(channels, CompleteOnResponse::default()));
            Over(Buffer::new(balance, ROOM))
        }),
    ])
}

/// A channel for each address, not connected yet.
pub(super) fn channels(addresses: &[SocketAddr]) -> Result<Vec<Channel>, BoxError> {
    Ok(endpoints(addresses)?.iter().map(Endpoint::connect_lazy).collect())
}

fn endpoints(addresses: &[SocketAddr]) -> Result<Vec<Endpoint>, BoxError> {
    let endpoints = addresses.iter().map(|address| Endpoint::from_shared(format!("http://{address}")));
    Ok(endpoints.collect::<Result<_, _>>()?)
}
