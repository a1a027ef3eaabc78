//! One endpoint as a service: connecting, connected, gone.

mod peer;
mod response;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt as _;
use http::{Request, Response};
use micro_discover::Endpoint;
use tower::BoxError;
use tower_service::Service;

use self::peer::{Attempt, Peer};
pub use self::response::ResponseFuture;
use super::{
    body::Body,
    connect::{Connector, HttpVersion},
    request::RequestBody,
};
use crate::gomicro::ask::Dialect;

/// Connects to one endpoint and sends it requests, over as many connections as that takes.
///
/// Clones share the connections. [`poll_ready`](Service::poll_ready) connects where there is no connection:
/// all clones wait for the same attempt, and each of them is told once if it fails; polling again makes the
/// next attempt. A connection that is closed, or that the peer wants to close, gets no further request while
/// the ones on it finish. What was provably not sent comes back in [`Unsent`](micro_balance::Unsent).
///
/// Requests get the endpoint's authority. Dropping the last clone closes the connections once their last
/// responses have ended.
pub struct Connection<B: RequestBody = tonic::body::Body> {
    endpoint: Arc<Peer<B>>,
    waiting: Option<Attempt>,
}

impl Connector {
    /// A service for `endpoint`, which connects when it is first polled. Only then a tokio runtime is needed.
    pub fn connect(&self, endpoint: &Endpoint) -> Connection {
        self.connect_with(endpoint)
    }

    /// The same for requests with another body than tonic's.
    pub fn connect_with<B: RequestBody>(&self, endpoint: &Endpoint) -> Connection<B> {
        let dialect = Dialect::of(&endpoint.metadata);
        let settings = match dialect {
            Some(_) => self.clone().http_version(HttpVersion::Http1),
            None => self.clone(),
        };
        Connection { endpoint: Arc::new(Peer::new(self, settings, endpoint, dialect)), waiting: None }
    }
}

impl<B: RequestBody> Connection<B> {
    /// The host and port it connects to, unless that is a unix socket.
    pub fn tcp_address(&self) -> Option<String> {
        Some(self.endpoint.target().uri()?.authority()?.to_string())
    }
}

impl<B: RequestBody> Service<Request<B>> for Connection<B> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            if self.endpoint.is_ready() {
                self.waiting = None;
                return Poll::Ready(Ok(()));
            }
            let attempt = self.waiting.get_or_insert_with(|| self.endpoint.attempt());
            let result = ready!(attempt.poll_unpin(cx));
            self.waiting = None;
            if let Err(failed) = result {
                return Poll::Ready(Err(failed.at(self.endpoint.target()).into()));
            }
        }
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<B> {
        self.endpoint.send(request)
    }
}

impl<B: RequestBody> Clone for Connection<B> {
    fn clone(&self) -> Self {
        Self { endpoint: self.endpoint.clone(), waiting: None }
    }
}

impl<B: RequestBody> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", self.endpoint.target().address())
            .field("ready", &self.endpoint.is_ready())
            .finish()
    }
}
