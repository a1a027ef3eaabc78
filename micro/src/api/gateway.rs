//! The gateway: the way of a request in one function.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, TryStreamExt as _};
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use micro_discover::Registry;
use tokio::task::AbortHandle;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{BoxError, Layer as _, Service, ServiceExt as _, service_fn};

use super::called;
use super::catalog::{Catalog, Watching};
use super::grpc::{self, Kind};
use super::handler::Handler;
use super::own::Own;
use super::response::{Answer, Finish, ResponseFuture};
use super::route::{api_route, proxy_route};
use super::settings::Builder;
use crate::proxy::{
    Directory, Fault, Forward, Forwarding, Peer, Unreachable, Upstream, Wire, check_path, forward, request_id,
};
use crate::rpc::Rpc;
use crate::transcode::{Found, Transcoding, transcode};

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
    _tasks: Arc<(Counting, Watching)>,
}

/// What its errors come from.
pub(super) const ID: &str = "go.micro.api";

struct Inner {
    settings: Builder,
    parts: Parts,
}

/// What a gateway is made of.
pub(super) struct Parts {
    pub(super) directory: Directory,
    pub(super) forwarding: Forwarding,
    pub(super) own: Own,
    pub(super) catalog: Catalog,
    pub(super) rpc: Rpc,
}

impl Gateway {
    /// A gateway to the services of `registry`.
    pub fn builder(registry: Arc<dyn Registry>) -> Builder {
        Builder::new(registry)
    }

    pub(super) fn new(settings: Builder, parts: Parts) -> Self {
        let counting = Counting(tokio::spawn(parts.own.stats.clone().run()).abort_handle());
        let tasks = Arc::new((counting, parts.catalog.watch()));
        Self { inner: Arc::new(Inner { settings, parts }), _tasks: tasks }
    }

    /// The gateway as a router of axum: it answers whatever other routes do not.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().fallback_service(self.clone())
    }

    /// The services that were asked for.
    pub fn directory(&self) -> &Directory {
        &self.inner.parts.directory
    }

    /// The service and the method that `path` means, if it is registered; and whether the method is called or the request
    /// passed on, where that is said.
    pub(crate) async fn method(&self, path: &str) -> Option<(Arc<Upstream>, String, Option<bool>)> {
        check_path(path).ok()?;
        let (names, method) = self.inner.names(path);
        let method = method?;
        let upstream = match self.inner.known(&names) {
            Some(upstream) => upstream,
            None => self.inner.look_up(&names).await.ok()?,
        };
        let handler = match self.inner.settings.handler {
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
        called::rpc(&self.inner.parts.catalog, upstream, method, request, &self.inner.transcoding()).await
    }

    /// Says in `/readyz` that the gateway is about to stop.
    pub fn stop(&self) {
        self.inner.parts.own.drain();
    }

    /// Waits for the WebSockets there are, for `grace` at most; then cuts them.
    pub async fn drain(&self, grace: Duration) {
        self.inner.parts.forwarding.tunnels.drain(grace).await;
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
        let Inner { settings, parts } = &*self.inner;
        let mut peer = Peer::of(request.extensions());
        (peer.tls, peer.trusted) = (settings.tls, settings.trust_forwarded);
        let finish = Finish {
            id: request_id(request.headers_mut()),
            page: settings.cors.allowed(request.headers()).map(|origin| (settings.cors.clone(), origin)),
            entry: settings.access_log.as_ref().map(|log| log.begin(&request, &peer)),
            stats: parts.own.stats.clone(),
        };
        ResponseFuture::new(self.inner.answer(request, peer), finish)
    }
}

impl Inner {
    /// The way of a request: refused, answered here, or passed on to the service that it is for.
    fn answer(self: &Arc<Self>, request: Request<Body>, peer: Peer) -> Answer {
        let answered = self.parts.own.answer(&request).or_else(|| self.settings.cors.preflight(&request));
        if let Some(response) = answered {
            return Answer::Own(Some(response));
        }
        let grpc = Kind::of(&request);
        if grpc.is_none()
            && let Some(found) = self.meant(&request)
        {
            let gateway = self.clone();
            return Answer::Boxed(async move { gateway.transcode(found, request).await }.boxed());
        }
        if let Err(why) = check_path(request.uri().path()) {
            return self.refuse(StatusCode::BAD_REQUEST, why);
        }
        match grpc {
            Some(Kind::Native) => self.call(request, peer),
            Some(Kind::Web) => Answer::Boxed(self.clone().call_from_web(request, peer).boxed()),
            None if request.uri().path() == "/rpc" => {
                let rpc = self.parts.rpc.clone();
                Answer::Boxed(async move { rpc.answer(request).await }.boxed())
            }
            None => self.handle(request, peer),
        }
    }

    /// The method that `request` means by a route that the method names, or by the method's own path.
    fn meant(&self, request: &Request<Body>) -> Option<Meant> {
        let path = request.uri().path();
        let routes = self.parts.catalog.routes();
        if !routes.is_empty()
            && let Some((service, found)) = routes.find(request.method(), path)
        {
            return Some(Meant::Route(service, Box::new(found)));
        }
        // A path of go-micro has no dot where a package has one.
        (request.method() == Method::POST && grpc::is_method(path)).then_some(Meant::Path)
    }

    async fn transcode(&self, meant: Meant, request: Request<Body>) -> Response<Body> {
        let how = self.transcoding();
        let names = match &meant {
            Meant::Route(service, _) => vec![service.to_string()],
            Meant::Path => grpc::names(&self.settings.namespace, &request),
        };
        let upstream = match self.look_up(&names).await {
            Ok(upstream) => upstream,
            Err(unreachable) => return fault(&unreachable).response(),
        };
        match meant {
            Meant::Route(_, found) => {
                transcode(upstream.client(Wire::Http2).clone(), *found, request, &how).await
            }
            Meant::Path => {
                let method = request.uri().path().to_owned();
                called::rpc(&self.parts.catalog, &upstream, &method, request, &how).await
            }
        }
    }

    fn transcoding(&self) -> Transcoding {
        Transcoding { timeout: self.settings.timeout, ..Transcoding::default() }
    }

    /// Passes a gRPC call on.
    fn call(self: &Arc<Self>, request: Request<Body>, peer: Peer) -> Answer {
        let names = grpc::names(&self.settings.namespace, &request);
        if let Some(upstream) = self.known(&names) {
            return Answer::Forward(self.forward(&upstream, Wire::Http2, request, &peer));
        }
        let gateway = self.clone();
        let answer = async move {
            match gateway.look_up(&names).await {
                Ok(upstream) => gateway.forward(&upstream, Wire::Http2, request, &peer).await,
                Err(unreachable) => status(&unreachable).into_http(),
            }
        };
        Answer::Boxed(answer.boxed())
    }

    /// Passes a call of gRPC-Web on, as gRPC.
    async fn call_from_web(self: Arc<Self>, mut request: Request<Body>, peer: Peer) -> Response<Body> {
        // Text is longer than what it stands for.
        request.headers_mut().remove(header::CONTENT_LENGTH);
        let native = service_fn(move |request: Request<Body>| {
            let gateway = self.clone();
            // What is translated does not know its own length, and says that of what it was.
            let request =
                request.map(|body| Body::new(StreamBody::new(body.into_data_stream().map_ok(Frame::data))));
            async move { Ok::<_, Infallible>(gateway.call(request, peer).into_response().await) }
        });
        match GrpcWebLayer::new().layer(native).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Finds the service that the path of `request` names, and hands the request to it.
    fn handle(self: &Arc<Self>, request: Request<Body>, peer: Peer) -> Answer {
        if let Some(upstream) = self.obvious(request.uri().path()) {
            return Answer::Forward(self.forward(&upstream, upstream.wire(), request, &peer));
        }
        let (names, method) = self.names(request.uri().path());
        if names.is_empty() {
            return self.refuse(StatusCode::NOT_FOUND, "the path names no service");
        }
        if let Some(upstream) = self.known(&names) {
            return self.hand(&upstream, method.as_deref(), request, peer);
        }
        let gateway = self.clone();
        let answer = async move {
            match gateway.look_up(&names).await {
                Ok(upstream) => {
                    gateway.hand(&upstream, method.as_deref(), request, peer).into_response().await
                }
                Err(unreachable) => fault(&unreachable).response(),
            }
        };
        Answer::Boxed(answer.boxed())
    }

    /// The web server that `path` means, where both rules for paths mean the same and nothing else has to be asked.
    fn obvious(&self, path: &str) -> Option<Arc<Upstream>> {
        if self.settings.handler != Handler::Meta || path.bytes().filter(|&byte| byte == b'/').count() > 3 {
            return None;
        }
        let service = proxy_route(path)?;
        let upstream =
            self.settings.namespace.names(&service).find_map(|name| self.parts.directory.find(&name))?;
        upstream.is_plain().then_some(upstream)
    }

    /// The names that the service of `path` may have, the likeliest first, and the method that it means.
    fn names(&self, path: &str) -> (Vec<String>, Option<String>) {
        let called = match self.settings.handler {
            Handler::Meta | Handler::Api | Handler::Rpc => api_route(path),
            Handler::Http | Handler::Web | Handler::Event => None,
        };
        let passed = match self.settings.handler {
            Handler::Meta | Handler::Http | Handler::Web => proxy_route(path),
            Handler::Api | Handler::Rpc | Handler::Event => None,
        };
        let mut names = Vec::new();
        for service in called.iter().map(|route| route.service.as_str()).chain(passed.as_deref()) {
            let more: Vec<_> =
                self.settings.namespace.names(service).filter(|name| !names.contains(name)).collect();
            names.extend(more);
        }
        (names, called.map(|route| route.method))
    }

    /// Hands `request` to `upstream`, in the way that is set or that it wants.
    fn hand(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        method: Option<&str>,
        request: Request<Body>,
        peer: Peer,
    ) -> Answer {
        let handler = match self.settings.handler {
            Handler::Meta => Handler::of(upstream, method),
            handler => handler,
        };
        match handler {
            Handler::Meta | Handler::Http | Handler::Web => {
                Answer::Forward(self.forward(upstream, upstream.wire(), request, &peer))
            }
            Handler::Api | Handler::Rpc => {
                let (gateway, upstream) = (self.clone(), upstream.clone());
                let method = method.unwrap_or_default().to_owned();
                let called = async move {
                    let (catalog, how) = (&gateway.parts.catalog, gateway.transcoding());
                    match handler {
                        Handler::Api => called::api(catalog, &upstream, &method, request, &peer, &how).await,
                        _ => called::rpc(catalog, &upstream, &method, request, &how).await,
                    }
                };
                Answer::Boxed(called.boxed())
            }
            Handler::Event => self.refuse(StatusCode::NOT_IMPLEMENTED, "no broker is set"),
        }
    }

    fn forward(&self, upstream: &Arc<Upstream>, wire: Wire, request: Request<Body>, peer: &Peer) -> Forward {
        forward(upstream, wire, request, peer, &self.parts.forwarding)
    }

    /// The first of `names` that was looked up before.
    fn known(&self, names: &[String]) -> Option<Arc<Upstream>> {
        names.iter().find_map(|name| self.parts.directory.find(name))
    }

    /// The first of `names` that is registered.
    async fn look_up(&self, names: &[String]) -> Result<Arc<Upstream>, Unreachable> {
        let mut failed = None;
        for name in names {
            match self.parts.directory.look_up(name).await {
                Ok(upstream) => return Ok(upstream),
                // That a registry cannot say is worth more than that it knows none of the others.
                Err(why @ Unreachable::Unavailable { .. }) => failed = Some(why),
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        Err(failed.unwrap_or_else(|| Unreachable::Unknown(String::new())))
    }

    fn refuse(&self, status: StatusCode, detail: &str) -> Answer {
        Answer::Own(Some(Fault::new(self.parts.forwarding.id, status, detail).response()))
    }
}

/// gRPC's words for a service that is not there.
fn status(unreachable: &Unreachable) -> tonic::Status {
    match unreachable {
        Unreachable::Unknown(_) => tonic::Status::unimplemented(unreachable.to_string()),
        _ => tonic::Status::unavailable(unreachable.to_string()),
    }
}

/// HTTP's.
fn fault(unreachable: &Unreachable) -> Fault {
    let code = match unreachable {
        Unreachable::Unknown(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Fault::new(ID, code, unreachable.to_string())
}

/// How a request names a method.
enum Meant {
    /// By a route of this service's.
    Route(Arc<str>, Box<Found>),
    /// By the path that gRPC has for it.
    Path,
}

struct Counting(AbortHandle);

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.abort();
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
