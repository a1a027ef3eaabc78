//! Our balancer over our transport and over channels, and the whole client.

use std::net::SocketAddr;

use http::Request;
use micro_balance::{Balance, Http, policy::PeakEwma};
use micro_discover::{Address, Endpoint};
use micro_tower::{
    Client,
    transport::{ChannelEndpoint, Connection, Connector},
};
use tonic::body::Body;
use tower::{BoxError, discover::ServiceList};

use super::{
    load::{Mode, Over},
    peers,
};

/// What is claimed about one endpoint.
pub(super) const ONE: &str = "ours/1";
/// What is claimed about ten endpoints.
pub(super) const TEN: &str = "ours/10";

/// Every mode, over the first or all of `addresses`. Needs a runtime.
pub(super) fn modes(addresses: &[SocketAddr]) -> Result<Vec<Mode>, BoxError> {
    let first = addresses.get(..1).ok_or("there is no server")?;
    Ok(vec![
        Mode::new(ONE, Over(balance(first)?)),
        Mode::new(TEN, Over(balance(addresses)?)),
        Mode::new("ours over channels/10", Over(over_channels(addresses)?)),
        Mode::new("micro_tower::Client/1", Over(client(first)?)),
        Mode::new("micro_tower::Client/10", Over(client(addresses)?)),
    ])
}

fn balance(addresses: &[SocketAddr]) -> Result<Balance<Connection, Request<Body>, PeakEwma, Http>, BoxError> {
    let connect = |address: &SocketAddr| -> Result<_, BoxError> {
        let address: Address = address.to_string().parse()?;
        Ok(Connector::new().connect(&Endpoint::new(address.to_string(), address)))
    };
    let connections = addresses.iter().map(connect).collect::<Result<Vec<_>, _>>()?;
    let discovered = ServiceList::new::<Request<Body>>(connections);
    Ok(Balance::builder(discovered).protocol(Http).build())
}

fn over_channels(
    addresses: &[SocketAddr],
) -> Result<Balance<ChannelEndpoint, Request<Body>, PeakEwma, Http>, BoxError> {
    let channels: Vec<_> = peers::channels(addresses)?.into_iter().map(ChannelEndpoint::new).collect();
    let discovered = ServiceList::new::<Request<Body>>(channels);
    Ok(Balance::builder(discovered).protocol(Http).build())
}

/// With everything a client has unless told otherwise.
fn client(addresses: &[SocketAddr]) -> Result<Client, BoxError> {
    let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let registry = micro_discover::open(&format!("fixed://{}", list.join(",")))?;
    Ok(Client::builder("echo", registry).build())
}
