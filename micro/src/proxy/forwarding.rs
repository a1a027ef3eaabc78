//! How requests are passed on, and the way of one to the client that sends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body as HttpBody;
use micro_balance::classify::is_grpc;
use micro_balance::retry::RetryLayer;
use micro_balance::timeout::Progress;
use micro_tower::transport::{Rate, Rated};
use micro_tower::{Client, client};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{BoxError, Service as _};

use super::origin::Origins;
use super::peer::Peer;
use super::tunnel::Tunnels;
use super::upstream::{Upstream, Wire};

/// How requests are passed on.
#[derive(Clone, Debug)]
pub struct Forwarding {
    /// The face that errors come from, such as `go.micro.api`.
    pub id: &'static str,
    /// How long a service may take to begin its answer once it has the last of the body; and a client to send the beginning
    /// of that, and then between two pieces of it, if more than 240 bytes a second come. gRPC calls say that themselves.
    pub timeout: Duration,
    /// Pages of other hosts that may open WebSockets.
    pub origins: Origins,
    /// The WebSockets there are.
    pub tunnels: Tunnels,
    /// What is sent again, where that is not what is usual.
    pub resend: Option<Resend>,
}

/// What of a request is sent again, and how long that may take.
#[derive(Clone, Debug)]
pub struct Resend {
    /// How long a gRPC call may take with all its attempts; as long as it says itself if there is nothing here.
    pub call: Option<Duration>,
    /// How long each attempt may take to begin its answer once it has the last of the body that is there; a client that is
    /// waited for has [`timeout`](Forwarding::timeout).
    pub attempt: Option<Duration>,
    /// What is sent again.
    pub retry: RetryLayer,
}

impl Forwarding {
    /// The client of `upstream` that does as is said here.
    pub fn client(&self, upstream: &Upstream, wire: Wire, grpc: bool) -> Client {
        self.own(upstream, wire, grpc).unwrap_or_else(|| upstream.client(wire).clone())
    }

    /// How a request gets to that client.
    pub(super) fn way(&self, upstream: &Arc<Upstream>, wire: Wire, grpc: bool, peer: &Peer) -> Way {
        Way { upstream: upstream.clone(), wire, own: self.own(upstream, wire, grpc), peer: *peer }
    }

    /// The client that is not the usual one, where there are rules.
    fn own(&self, upstream: &Upstream, wire: Wire, grpc: bool) -> Option<Client> {
        let Resend { call, attempt, retry } = self.resend.as_ref()?;
        // Other requests end when their answers end: only its beginning is waited for.
        Some(upstream.client(wire).with_rules(call.filter(|_| grpc), *attempt, retry.clone()))
    }
}

/// The client that a request is sent by: its own where there are rules, or else the usual one of its service.
pub(super) struct Way {
    upstream: Arc<Upstream>,
    wire: Wire,
    own: Option<Client>,
    peer: Peer,
}

impl Way {
    pub(super) fn send(self, request: Request<Body>) -> client::ResponseFuture {
        match self.own {
            Some(mut client) => client.call(request),
            None => self.upstream.client(self.wire).send(request),
        }
    }

    /// Sends a request whose body may take its time, and gives way where others wait and it takes too long, or its client has
    /// more than his share.
    pub(super) fn send_rated<B>(self, request: Request<B>) -> (client::ResponseFuture, Rate)
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let client = self.peer.client(request.headers());
        let mut request = Rated::body_of(request, client);
        let rate = request.body().rate();
        if self.own.is_some() {
            let progress = progress(rate.clone(), is_grpc(request.headers()));
            request.extensions_mut().insert(progress);
        }
        (self.send(request.map(Body::new)), rate)
    }
}

/// By which the time of an attempt goes: no endpoint can help it if the client does not send the rest of a body. A client of
/// gRPC may do so for an answer to what it said, so that it has only the time between two messages.
fn progress(rate: Rate, grpc: bool) -> Progress {
    Progress::new(move || match grpc {
        true => (!rate.is_slow()).then(|| rate.moved_at()),
        false if rate.is_awaited() => Some(Instant::now()),
        false => Some(rate.moved_at()),
    })
}
