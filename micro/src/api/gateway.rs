//! The gateway as a service: what is shared by all requests, and what is done to each before its way is known.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use micro_broker::Broker;
use micro_discover::Registry;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tower::{BoxError, Service};

use super::called;
use super::catalog::Catalog;
use super::cors::Cors;
use super::handler::Handler;
use super::own::Own;
use super::policy::{Policies, Policy};
use super::response::{Finish, ResponseFuture};
use super::rules::Rules;
use super::settings::Builder;
use crate::proxy::{Directory, Origins, Peer, Tunnels, Upstream, check_path, request_id};
use crate::rpc::Rpc;
use crate::traffic::Recorder;

/// Routes requests from outside to registered services. Clones are cheap, and share everything.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let registry = micro_discover::open("memory:").unwrap();
/// let gateway = micro::api::Gateway::builder(registry).namespace("").build();
/// let app: axum::Router = axum::Router::new().merge(gateway.router());
/// # drop(app);
/// # }
/// ```
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

/// What its errors come from, unless it is part of another face.
pub(super) const ID: &str = "go.micro.api";

/// What all requests share.
pub(super) struct Inner {
    pub(super) settings: Builder,
    pub(super) parts: Parts,
    /// What may change while requests are under way; each keeps what it began with.
    live: ArcSwap<Live>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// What a gateway is made of.
pub(super) struct Parts {
    pub(super) directory: Directory,
    pub(super) tunnels: Tunnels,
    pub(super) own: Own,
    pub(super) catalog: Catalog,
    pub(super) rpc: Rpc,
    pub(super) broker: Option<Arc<dyn Broker>>,
}

/// Rules in force.
pub(super) struct Live {
    pub(super) cors: Cors,
    pub(super) policies: Policies,
}

impl Live {
    fn new(id: &'static str, rules: Rules, tunnels: Tunnels) -> Self {
        let origins = Origins::new(rules.cors.origins().map(str::to_owned));
        let usual = Policy::usual(id, &rules, origins, tunnels);
        Self { cors: rules.cors, policies: Policies::new(usual, rules.routes) }
    }
}

impl Gateway {
    /// A gateway to the services of `registry`.
    pub fn builder(registry: Arc<dyn Registry>) -> Builder {
        Builder::new(registry)
    }

    pub(super) fn new(settings: Builder, rules: Rules, parts: Parts) -> Self {
        let counting = AbortOnDropHandle::new(tokio::spawn(parts.own.stats.clone().run()));
        let _tasks = [counting, parts.catalog.watch()];
        let live = ArcSwap::from_pointee(Live::new(settings.id, rules, parts.tunnels.clone()));
        Self { inner: Arc::new(Inner { settings, parts, live, _tasks }) }
    }

    /// The gateway as a router of axum: it answers whatever other routes do not.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().fallback_service(self.clone())
    }

    /// From now on `rules` hold. Requests that are under way keep those that they began with, and limits count anew.
    pub fn set_rules(&self, rules: Rules) {
        let Inner { settings, parts, live, .. } = &*self.inner;
        live.store(Arc::new(Live::new(settings.id, rules, parts.tunnels.clone())));
    }

    /// The services that were asked for.
    pub fn directory(&self) -> &Directory {
        &self.inner.parts.directory
    }

    /// What tells of the requests that pass through, to be followed by whoever shows them.
    pub fn recorder(&self) -> &Recorder {
        &self.inner.settings.recorder
    }

    /// The service and the method that `path` means, if it is registered; and whether the method is called or the request
    /// passed on, where that is said.
    pub(crate) async fn method(&self, path: &str) -> Option<(Arc<Upstream>, String, Option<bool>)> {
        check_path(path).ok()?;
        let settings = &self.inner.settings;
        let (names, method) = settings.names(settings.handler, "", path);
        let method = method?;
        let directory = &self.inner.parts.directory;
        let upstream = match directory.first_known(&names) {
            Some(upstream) => upstream,
            None => directory.first(&names).await.ok()?,
        };
        let handler = match settings.handler {
            Handler::Meta => Handler::said(&upstream, Some(&method)),
            handler => Some(handler),
        };
        let is_called = |handler| matches!(handler, Handler::Rpc | Handler::Api);
        Some((upstream, method, handler.map(is_called)))
    }

    /// Calls `method` of `upstream` by `request`, whatever the service announces.
    pub(crate) async fn call_method(
        &self,
        upstream: &Upstream,
        method: &str,
        request: Request<Body>,
    ) -> Response<Body> {
        let live = self.inner.live.load_full();
        called::rpc(&self.inner.parts.catalog, upstream, method, request, live.policies.usual()).await
    }

    /// Says in `/readyz` that the gateway is about to stop.
    pub fn stop(&self) {
        self.inner.parts.own.drain();
    }

    /// Waits for the WebSockets there are, for `grace` at most; then cuts them.
    pub async fn drain(&self, grace: Duration) {
        self.inner.parts.tunnels.drain(grace).await;
    }
}

impl<B> Service<Request<B>> for Gateway
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let mut request = request.map(Body::new);
        let Inner { settings, parts, live, .. } = &*self.inner;
        let live = live.load();
        let mut peer = Peer::of(request.extensions());
        (peer.tls, peer.trusted) = (settings.tls, settings.trust_forwarded);
        let finish = Finish {
            id: request_id(request.headers_mut()),
            page: live.cors.lets_in().then(|| {
                let origin = live.cors.allowed(request.headers());
                Box::new((live.cors.clone(), origin))
            }),
            entry: settings.access_log.as_ref().map(|log| Box::new(log.begin(&request, &peer))),
            observed: settings.observer.as_ref().map(|observer| observer.begin(&mut request, &peer)),
            stats: parts.own.stats.clone(),
        };
        ResponseFuture::new(self.inner.answer(&live, request, peer), finish)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("settings", &self.inner.settings)
            .field("directory", &self.inner.parts.directory)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use micro_discover::{Endpoint, Memory, Service as Record};
    use tokio::net::TcpListener;
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn new_rules_hold_for_calls_by_name_too_and_for_finding_out_what_they_are() {
        // It takes connections, and never says a word.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string().parse().unwrap();
        let registry = Memory::new();
        let slow = Record::new("slow").endpoint(Endpoint::new("a", address));
        registry.announce(&slow, Duration::ZERO).await.unwrap();
        let gateway = Gateway::builder(Arc::new(registry)).build();
        gateway.set_rules(Rules::new().timeout(Duration::from_millis(100)));

        let call = r#"{"service": "slow", "method": "Slow.Call", "request": {}}"#;
        let request = Request::post("/rpc").header("content-type", "application/json");
        let began = Instant::now();
        let answer = gateway.oneshot(request.body(Body::new(call.to_owned())).unwrap()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
        assert_eq!(status, http::StatusCode::GATEWAY_TIMEOUT, "{body:?}");
        assert!(String::from_utf8_lossy(&body).contains("slow itself said within 100ms"), "{body:?}");
    }
}
