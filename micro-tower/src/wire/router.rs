//! One service for methods by name, for tonic services, and for everything else.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture};
use http::{HeaderMap, Method as Verb, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Limited};
use micro_balance::classify::is_grpc;
use tonic::{Status, body::Body};
use tower::{BoxError, ServiceExt as _, util::BoxCloneSyncService};
use tower_service::Service;

use super::{
    debug::Debug,
    grpc,
    handler::{self, Handler, Incoming, Method, StreamHandler},
    method,
    transcode::{InvalidDescriptors, Transcoder},
};
use crate::gomicro::{self, Message, Opening, Streams, detect::TOPICS, front, serve};

/// Any other service, for what is not ours.
type Other = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Answers calls by name, over gRPC and go-micro's RPC, with handlers and tonic services.
///
/// `Debug.Health` and `Debug.Stats` are there unless routes of that name replace them. A handler that panics is
/// answered for with 500. Messages are 4 MiB at most.
#[derive(Clone)]
#[must_use = "a router does nothing until it is served"]
pub struct Router {
    table: Arc<Table>,
}

#[derive(Clone)]
struct Table {
    routes: HashMap<String, Route>,
    grpc: Option<(Other, Transcoder)>,
    fallback: Option<Other>,
    debug: Debug,
}

#[derive(Clone)]
struct Route {
    method: Method,
    streams: bool,
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

impl Router {
    /// Nothing but `Debug.Health` and `Debug.Stats`.
    pub fn new() -> Self {
        let debug = Debug::new();
        let mut routes = HashMap::new();
        for (name, method) in debug.methods() {
            routes.insert(name.to_owned(), Route { method, streams: false });
        }
        Self { table: Arc::new(Table { routes, grpc: None, fallback: None, debug }) }
    }

    /// Answers `name`, such as `Greeter.Hello`, by `handler`; see [`Handler`] for what that may be.
    pub fn route<M>(self, name: &str, handler: impl Handler<M>) -> Self {
        self.with(name, Route { method: handler::method(handler), streams: false })
    }

    /// The same for streams from the caller, to the caller, or both.
    pub fn stream<M>(self, name: &str, handler: impl StreamHandler<M>) -> Self {
        self.with(name, Route { method: handler::stream_method(handler), streams: true })
    }

    /// Handles events of `topic` that go-micro's clients send here as messages with `Micro-Topic`. The caller hears
    /// of a handler's error; what it returns otherwise is for nobody.
    ///
    /// A broker's events come through `micro_broker::deliver` instead, which keeps what a handler cannot do now.
    pub fn event<M>(self, topic: &str, handler: impl Handler<M>) -> Self {
        self.with(&format!("{TOPICS}/{topic}"), Route { method: handler::method(handler), streams: false })
    }

    fn with(mut self, name: &str, route: Route) -> Self {
        let name = method::split(name)
            .map_or_else(|| name.to_owned(), |(service, name)| method::short(service, name));
        Arc::make_mut(&mut self.table).routes.insert(name, route);
        self
    }

    /// Serves tonic services, which `descriptors` (`tonic::include_file_descriptor_set!`) describe: to gRPC as they
    /// are, to go-micro by `Greeter.Hello`, and both in JSON too.
    ///
    /// # Errors
    ///
    /// [`InvalidDescriptors`]: those are none.
    pub fn grpc<S, B>(mut self, service: S, descriptors: &[u8]) -> Result<Self, InvalidDescriptors>
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + Sync + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let transcoder = Transcoder::new(descriptors)?;
        Arc::make_mut(&mut self.table).grpc = Some((other(service), transcoder));
        Ok(self)
    }

    /// Hands every request that is no call to `service`: an axum router, for example.
    pub fn fallback<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + Sync + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Arc::make_mut(&mut self.table).fallback = Some(other(service));
        self
    }
}

fn other<S, B>(service: S) -> Other
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let service = service.map_response(|response: Response<B>| response.map(Body::new));
    BoxCloneSyncService::new(service.map_err(Into::into))
}

impl Service<Request<Body>> for Router {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = RouterFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> RouterFuture {
        let router = self.clone();
        RouterFuture(Box::pin(async move { router.answer(request).await }))
    }
}

/// Response of a [`Router`].
pub struct RouterFuture(BoxFuture<'static, Result<Response<Body>, BoxError>>);

impl Future for RouterFuture {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl Router {
    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        if is_grpc(request.headers()) {
            return self.answer_grpc(request).await;
        }
        let message = Message { headers: request.headers().clone(), body: Bytes::new() };
        if request.method() == Verb::POST && request.uri().path() == "/" && front::is_call(&message) {
            return self.answer_message(request).await;
        }
        match &self.table.fallback {
            Some(fallback) => fallback.clone().oneshot(request).await,
            None => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NOT_FOUND;
                Ok(response)
            }
        }
    }

    /// A message of go-micro's that came as an HTTP request of its own.
    async fn answer_message(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, gomicro::LONGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                return Ok(response);
            }
        };
        // Boxed: the router serves the gRPC request that the message is.
        let message = Message { headers: head.headers, body };
        let answered: BoxFuture<'static, Message> = Box::pin(serve::answer_once(self, message));
        let answer = answered.await;
        let mut response = Response::new(Body::new(http_body_util::Full::new(answer.body)));
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    async fn answer_grpc(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let Some((service, method)) = method::split(request.uri().path()) else {
            return Ok(grpc::refusal(Status::unimplemented("the path names no method")));
        };
        let name = method::short(service, method);
        let counted = self.table.debug.count();
        let response = match (self.table.routes.get(&name), &self.table.grpc) {
            // What tonic serves under its full name is not ours, whatever else is called so.
            (_, Some((other, transcoder))) if transcoder.knows(request.uri().path()) => {
                transcoder.call(other.clone(), &name, request).await?
            }
            (Some(route), _) => run(route.clone(), request).await,
            (None, Some((other, transcoder))) if transcoder.has(&name) => {
                transcoder.call(other.clone(), &name, request).await?
            }
            _ => match self.table.other(service) {
                Some(other) => other.clone().oneshot(request).await?,
                None => grpc::refusal(self.table.missing(service, method)),
            },
        };
        counted.answered(&response);
        Ok(response)
    }
}

impl Table {
    /// Who may know a service that is in no descriptors, as health and reflection are: go-micro's have no package.
    fn other(&self, service: &str) -> Option<&Other> {
        let grpc = self.grpc.as_ref().map(|(other, _)| other);
        grpc.or(self.fallback.as_ref()).filter(|_| service.contains('.'))
    }

    /// go-micro's words for what is not there.
    fn missing(&self, service: &str, method: &str) -> Status {
        let service = service.rsplit('.').next().unwrap_or(service);
        let prefix = format!("{service}.");
        let known = self.routes.keys().any(|name| name.starts_with(&prefix))
            || self.grpc.as_ref().is_some_and(|(_, transcoder)| transcoder.has_service(service));
        Status::unimplemented(match known {
            true => format!("rpc: can't find method {method}"),
            false => format!("rpc: can't find service {service}"),
        })
    }
}

async fn run(route: Route, request: Request<Body>) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let format = grpc::format(&head.headers);
    let gzip = grpc::accepts_gzip(&head.headers);
    let opening = head.extensions.get::<Opening>().copied();
    let mut messages = grpc::messages(body);
    // What go-micro opens a stream with is no message of it.
    if opening.is_some() && route.streams {
        messages = messages.skip(1).boxed();
    }
    let headers: HeaderMap = std::mem::take(&mut head.headers);
    let incoming =
        Incoming { headers, format: format.clone(), messages, era: opening.map(|opening| opening.0) };
    let mut response = match (route.method)(incoming).await {
        Ok(answers) => grpc::response(&format, gzip, answers),
        Err(status) => grpc::refusal(status),
    };
    if route.streams {
        response.extensions_mut().insert(Streams);
    }
    response
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("routes", &self.table.routes.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RouterFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouterFuture")
    }
}
