//! The way of a request: refused, answered here, or passed on to the service that it is for.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{FutureExt as _, TryStreamExt as _};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::called;
use super::event::{About, How, publish};
use super::gateway::{Inner, Live};
use super::grpc::{self, Kind};
use super::grpc_web;
use super::handler::Handler;
use super::limited::limited;
use super::policy::Policy;
use super::response::Answer;
use super::route::event_route;
use crate::causes::chain;
use crate::proxy::{
    Fault, Forward, Peer, Unreachable, Upstream, Wire, check_path, forward, metered, refuse_coded,
};
use crate::transcode::{Found, transcode};

impl Inner {
    /// What becomes of `request`, by the rules of now.
    pub(super) fn answer(self: &Arc<Self>, live: &Live, request: Request<Body>, peer: Peer) -> Answer {
        let answered = self
            .parts
            .own
            .answer(&request, self.parts.catalog.is_synced())
            .or_else(|| live.cors.preflight(&request));
        if let Some(response) = answered {
            return Answer::own(response);
        }
        let policies = &live.policies;
        let policy = match policies.is_empty() {
            true => policies.usual(),
            false => policies.find(request.method(), host(&request), request.uri().path()),
        };
        if policy.is_unlimited() {
            return self.route(policy, request, peer);
        }
        let (gateway, rules) = (self.clone(), policy.clone());
        let answer = move |request| {
            let (gateway, policy) = (gateway.clone(), rules.clone());
            async move { gateway.route(&policy, request, peer).into_response().await }
        };
        Answer::Boxed(limited(policy, &peer, request, answer))
    }

    /// Finds out what `request` means.
    fn route(self: &Arc<Self>, policy: &Arc<Policy>, request: Request<Body>, peer: Peer) -> Answer {
        let grpc = Kind::of(&request);
        if grpc.is_none()
            && let Some(found) = self.meant(policy, &request)
        {
            let (gateway, policy) = (self.clone(), policy.clone());
            return Answer::Boxed(async move { gateway.transcode(&policy, found, request).await }.boxed());
        }
        if let Err(why) = check_path(request.uri().path()) {
            return refuse(policy, StatusCode::BAD_REQUEST, why);
        }
        match grpc {
            Some(Kind::Native) => self.call(policy, request, peer),
            Some(Kind::Web) => {
                Answer::Boxed(self.clone().call_from_web(policy.clone(), request, peer).boxed())
            }
            None if request.uri().path() == "/rpc" => {
                let rpc = self.parts.rpc.clone().timeout(policy.timeout());
                Answer::Boxed(async move { rpc.answer(request).await }.boxed())
            }
            None => self.handle(policy, request, peer),
        }
    }

    /// The method that `request` means by a route that the method names, or by the method's own path.
    fn meant(&self, policy: &Policy, request: &Request<Body>) -> Option<Meant> {
        if policy.method.is_some() || !matches!(policy.handler, None | Some(Handler::Meta | Handler::Rpc)) {
            return None;
        }
        let path = request.uri().path();
        let routes = self.parts.catalog.routes();
        if !routes.is_empty()
            && let Some((service, found)) = routes.find(request.method(), path)
            && policy.service.as_ref().is_none_or(|own| **own == *service)
        {
            return Some(Meant::Route(service, Box::new(found)));
        }
        // A path of go-micro has no dot where a package has one.
        (request.method() == Method::POST && grpc::is_method(path)).then_some(Meant::Path)
    }

    async fn transcode(&self, policy: &Policy, meant: Meant, request: Request<Body>) -> Response<Body> {
        if let Some(refusal) = refuse_coded(policy.id(), request.headers()) {
            return refusal;
        }
        let names = match &meant {
            Meant::Route(service, _) => vec![service.to_string()],
            Meant::Path => self.grpc_names(policy, &request),
        };
        let upstream = match self.parts.directory.first(&names).await {
            Ok(upstream) => upstream,
            Err(unreachable) => return unreachable.fault(policy.id()).response(),
        };
        match meant {
            Meant::Route(_, found) => {
                let (client, how) = (policy.client(&upstream), policy.transcoding());
                let method = found.method().full_name().to_owned();
                metered(&upstream, &method, request, |request| transcode(client, *found, request, &how)).await
            }
            Meant::Path => {
                let method = request.uri().path().to_owned();
                called::rpc(&self.parts.catalog, &upstream, &method, request, policy).await
            }
        }
    }

    fn grpc_names(&self, policy: &Policy, request: &Request<Body>) -> Vec<String> {
        match &policy.service {
            Some(service) => vec![service.clone()],
            None => grpc::names(&self.settings.namespace, request),
        }
    }

    /// Passes a gRPC call on.
    fn call(self: &Arc<Self>, policy: &Arc<Policy>, request: Request<Body>, peer: Peer) -> Answer {
        let directory = &self.parts.directory;
        let known = match &policy.service {
            Some(service) => directory.find(service),
            None => grpc::find(&self.settings.namespace, &request, |name| directory.find(name)),
        };
        if let Some(upstream) = known {
            return Answer::Forward(pass(policy, &upstream, Wire::Http2, request, &peer));
        }
        let names = self.grpc_names(policy, &request);
        let (gateway, policy) = (self.clone(), policy.clone());
        let answer = async move {
            match gateway.parts.directory.first(&names).await {
                Ok(upstream) => pass(&policy, &upstream, Wire::Http2, request, &peer).await,
                Err(unreachable) => status(&unreachable).into_http(),
            }
        };
        Answer::Boxed(answer.boxed())
    }

    /// Passes a call of gRPC-Web on, as gRPC.
    async fn call_from_web(
        self: Arc<Self>,
        policy: Arc<Policy>,
        request: Request<Body>,
        peer: Peer,
    ) -> Response<Body> {
        let Some(request) = grpc_web::binary(request) else {
            let detail = "gRPC-Web is spoken here with messages of protobuf: application/grpc-web+proto";
            return Fault::new(policy.id(), StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).response();
        };
        let native = service_fn(move |request: Request<Body>| {
            let (gateway, policy) = (self.clone(), policy.clone());
            // What is translated does not know its own length, and says that of what it was.
            let request =
                request.map(|body| Body::new(StreamBody::new(body.into_data_stream().map_ok(Frame::data))));
            async move { Ok::<_, Infallible>(gateway.call(&policy, request, peer).into_response().await) }
        });
        match GrpcWebLayer::new().layer(native).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Finds the service that `request` names by its route, by what a method announces or by its path, and hands the request
    /// to it.
    fn handle(self: &Arc<Self>, policy: &Arc<Policy>, request: Request<Body>, peer: Peer) -> Answer {
        let path = request.uri().path();
        let announced = self.parts.catalog.announced();
        let by_label = policy.goes_by_path() && self.settings.handler == Handler::Meta;
        let announced = match by_label && !announced.is_empty() {
            true => announced.find(request.method(), host(&request), path),
            false => None,
        };
        if announced.is_none()
            && policy.goes_by_path()
            && let Some(upstream) = self.settings.obvious(path, &self.parts.directory)
        {
            return Answer::Forward(pass(policy, &upstream, upstream.wire(), request, &peer));
        }
        let aim = match announced {
            Some(way) => Aim {
                names: vec![way.service.to_string()],
                method: Some(way.method.clone()),
                handler: way.handler.unwrap_or(Handler::Meta),
            },
            None => self.aim(policy, path),
        };
        if aim.handler == Handler::Event {
            return self.publish(policy, request);
        }
        if aim.names.is_empty() {
            let fault = Fault::new(policy.id(), StatusCode::NOT_FOUND, "the path names no service");
            return Answer::own(self.nowhere(policy, path, &fault));
        }
        if let Some(upstream) = self.parts.directory.first_known(&aim.names) {
            return self.hand(policy, &upstream, &aim, request, peer);
        }
        let (gateway, policy) = (self.clone(), policy.clone());
        let answer = async move {
            match gateway.parts.directory.first(&aim.names).await {
                Ok(upstream) => gateway.hand(&policy, &upstream, &aim, request, peer).into_response().await,
                Err(unreachable) => {
                    let fault = unreachable.fault(policy.id());
                    gateway.nowhere(&policy, request.uri().path(), &fault)
                }
            }
        };
        Answer::Boxed(answer.boxed())
    }

    /// What a request is told that leads nowhere: with which verbs its path would mean a method, if there are any.
    fn nowhere(&self, policy: &Policy, path: &str, fault: &Fault) -> Response<Body> {
        let routes = self.parts.catalog.routes();
        let verbs = routes.verbs(path).join(", ");
        match HeaderValue::from_str(&verbs) {
            Ok(allow) if !verbs.is_empty() && fault.status() == StatusCode::NOT_FOUND => {
                let detail = format!("this path is for {verbs}");
                let mut response = Fault::new(policy.id(), StatusCode::METHOD_NOT_ALLOWED, detail).response();
                response.headers_mut().insert(header::ALLOW, allow);
                response
            }
            _ => fault.response(),
        }
    }

    /// What a path means, where `policy` does not say it.
    fn aim(&self, policy: &Policy, path: &str) -> Aim {
        let handler = policy.handler.unwrap_or(self.settings.handler);
        let (names, method) = self.settings.names(handler, path);
        Aim {
            names: policy.service.clone().map_or(names, |service| vec![service]),
            method: policy.method.clone().or(method),
            // Only a call needs a method by its name.
            handler: match policy.handler {
                None | Some(Handler::Meta) if policy.method.is_some() => Handler::Rpc,
                _ => handler,
            },
        }
    }

    /// Hands `request` to `upstream`, in the way that is set or that it wants.
    fn hand(
        self: &Arc<Self>,
        policy: &Arc<Policy>,
        upstream: &Arc<Upstream>,
        aim: &Aim,
        request: Request<Body>,
        peer: Peer,
    ) -> Answer {
        let handler = match aim.handler {
            Handler::Meta => Handler::of(upstream, aim.method.as_deref()),
            handler => handler,
        };
        match handler {
            Handler::Meta | Handler::Http | Handler::Web => {
                Answer::Forward(pass(policy, upstream, upstream.wire(), request, &peer))
            }
            Handler::Api | Handler::Rpc => {
                if let Some(refusal) = refuse_coded(policy.id(), request.headers()) {
                    return Answer::own(refusal);
                }
                let (gateway, policy, upstream) = (self.clone(), policy.clone(), upstream.clone());
                let method = aim.method.clone().unwrap_or_default();
                let called = async move {
                    let catalog = &gateway.parts.catalog;
                    match handler {
                        Handler::Api => {
                            called::api(catalog, &upstream, &method, request, &peer, &policy).await
                        }
                        _ => called::rpc(catalog, &upstream, &method, request, &policy).await,
                    }
                };
                Answer::Boxed(called.boxed())
            }
            Handler::Event => self.publish(policy, request),
        }
    }

    /// Makes an event of `request`.
    fn publish(&self, policy: &Policy, request: Request<Body>) -> Answer {
        if let Some(refusal) = refuse_coded(policy.id(), request.headers()) {
            return Answer::own(refusal);
        }
        let Some(broker) = self.parts.broker.clone() else {
            return refuse(policy, StatusCode::NOT_IMPLEMENTED, "no broker is set");
        };
        let route = event_route(request.uri().path());
        let topic = policy.topic.clone().or_else(|| {
            let mut names = self.settings.namespace.names(&route.topic);
            names.next().map(Cow::into_owned)
        });
        let Some(topic) = topic.filter(|topic| !topic.is_empty()) else {
            return refuse(policy, StatusCode::NOT_FOUND, "the path names no topic");
        };
        let about = About { topic, action: route.action };
        let how = How { id: policy.id(), form: policy.event, transcoding: policy.transcoding() };
        Answer::Boxed(publish(broker, about, how, request).boxed())
    }
}

/// How a request names a method.
enum Meant {
    /// By a route of this service's.
    Route(Arc<str>, Box<Found>),
    /// By the path that gRPC has for it.
    Path,
}

/// Where a request is to go.
struct Aim {
    /// The names that the service may have, the likeliest first.
    names: Vec<String>,
    method: Option<String>,
    handler: Handler,
}

fn pass(
    policy: &Policy,
    to: &Arc<Upstream>,
    wire: Wire,
    request: Request<Body>,
    peer: &Peer,
) -> Pin<Box<Forward>> {
    Box::pin(forward(to, wire, request, peer, &policy.forwarding))
}

/// The host that a request is for, without its port.
fn host<B>(request: &Request<B>) -> &str {
    let said = || request.headers().get(header::HOST)?.to_str().ok();
    let host =
        request.uri().authority().map(|authority| authority.as_str()).or_else(said).unwrap_or_default();
    match host.rsplit_once(':') {
        // What is between brackets has colons of its own.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn refuse(policy: &Policy, status: StatusCode, detail: &str) -> Answer {
    Answer::own(Fault::new(policy.id(), status, detail).response())
}

/// gRPC's words for a service that is not there.
fn status(unreachable: &Unreachable) -> tonic::Status {
    match unreachable {
        Unreachable::Unknown(_) => tonic::Status::unimplemented(chain(unreachable)),
        Unreachable::Unavailable { .. } => tonic::Status::unavailable(chain(unreachable)),
    }
}
