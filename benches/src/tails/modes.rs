//! The balancers that are compared.

use std::{fmt, net::SocketAddr, time::Duration};

use futures_util::future::BoxFuture;
use micro_balance::Repeatable;
use micro_tower::Client;
use tokio::time::timeout;
use tonic::{
    Request,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
    transport::{Channel, Endpoint},
};
use tower::{
    BoxError,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwmaDiscover, PendingRequestsDiscover},
};

use super::{TIMEOUT, server::PORT};
use crate::e2e::proto::{Payload, echo_client::EchoClient};

/// What latencies are held against.
pub(super) const BASE: &str = "tonic balance_list";
/// What is claimed about.
pub(super) const OURS: &str = "micro_tower::Client";

/// The room in front of a balancer: tonic's own default.
const ROOM: usize = 1024;

/// A client under test.
pub(super) struct Mode {
    pub(super) name: &'static str,
    call: Box<dyn Fn() -> BoxFuture<'static, Result<u16, BoxError>>>,
}

impl Mode {
    /// A generated client over some service.
    fn over<T>(name: &'static str, service: T) -> Self
    where
        T: GrpcService<Body, Future: Send> + Clone + Send + Sync + 'static,
        T::Error: Into<StdError>,
        T::ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    {
        let call = move || -> BoxFuture<'static, Result<u16, BoxError>> {
            let mut client = EchoClient::new(service.clone());
            Box::pin(async move {
                let mut request = Request::new(Payload { data: vec![7; 32] });
                request.extensions_mut().insert(Repeatable);
                let answer = timeout(TIMEOUT, client.unary(request)).await??;
                let port = answer.metadata().get(PORT).ok_or("the server does not say who it is")?;
                Ok(port.to_str()?.parse()?)
            })
        };
        Self { name, call: Box::new(call) }
    }

    /// Makes one call, and gives the port of the server that answered it.
    pub(super) fn call(&self) -> BoxFuture<'static, Result<u16, BoxError>> {
        (self.call)()
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every balancer, each with connections of its own to `addresses`. Needs a runtime.
pub(super) fn modes(addresses: &[SocketAddr]) -> Result<Vec<Mode>, BoxError> {
    let endpoints: Vec<Endpoint> = addresses
        .iter()
        .map(|address| Endpoint::from_shared(format!("http://{address}")))
        .collect::<Result<_, _>>()?;
    let channels = || {
        let channels = endpoints.iter().map(Endpoint::connect_lazy).collect::<Vec<_>>();
        ServiceList::new::<http::Request<Body>>(channels)
    };
    let pending = PendingRequestsDiscover::new(channels(), CompleteOnResponse::default());
    let (latency, decay) = (Duration::from_millis(30), Duration::from_secs(10));
    let ewma = PeakEwmaDiscover::new::<http::Request<Body>>(
        channels(),
        latency,
        decay,
        CompleteOnResponse::default(),
    );
    Ok(vec![
        Mode::over(BASE, Channel::balance_list(endpoints.iter().cloned())),
        Mode::over("tower PendingRequests", Buffer::new(Balance::new(pending), ROOM)),
        Mode::over("tower PeakEwma", Buffer::new(Balance::new(ewma), ROOM)),
        ours(addresses)?,
    ])
}

/// Ours, with every default.
pub(super) fn ours(addresses: &[SocketAddr]) -> Result<Mode, BoxError> {
    let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let registry = micro_discover::open(&format!("fixed://{}", list.join(",")))?;
    Ok(Mode::over(OURS, Client::builder("echo", registry).timeout(TIMEOUT).build()))
}
