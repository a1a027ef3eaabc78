//! The way of a request: refused, answered here, or passed on to the service that it is for.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::{FutureExt as _, TryStreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::gateway::{Inner, Live};
use super::grpc::Kind;
use super::grpc_web;
use super::hand::{Aim, pass, refuse};
use super::handler::Handler;
use super::limited::limited;
use super::policy::Policy;
use super::resolver::host;
use super::response::Answer;
use crate::causes::chain;
use crate::proxy::{Fault, Peer, Unreachable, Wire, check_path};

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
            return Answer::Boxed(gateway.answer_meant(policy, found, request, peer).boxed());
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

    /// Passes a gRPC call on.
    fn call(self: &Arc<Self>, policy: &Arc<Policy>, request: Request<Body>, peer: Peer) -> Answer {
        let directory = &self.parts.directory;
        let known = match &policy.service {
            Some(service) => directory.find(service),
            None => self.settings.grpc_upstream(&request, directory),
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
            true => announced.find(request.method(), host(&request), path, |service| {
                self.may_answer(policy, host(&request), service)
            }),
            false => None,
        };
        if announced.is_none()
            && policy.goes_by_path()
            && let Some(upstream) = self.settings.obvious(&request, &self.parts.directory)
        {
            return Answer::Forward(pass(policy, &upstream, upstream.wire(), request, &peer));
        }
        let aim = match announced {
            Some(way) => Aim {
                names: vec![way.service.to_string()],
                method: Some(way.method.clone()),
                handler: way.handler.unwrap_or(Handler::Meta),
            },
            None => self.aim(policy, host(&request), path),
        };
        if aim.handler == Handler::Event {
            return self.publish(policy, request);
        }
        if aim.names.is_empty() {
            let complaint = self.settings.resolver.complaint();
            let fault = Fault::new(policy.id(), StatusCode::NOT_FOUND, complaint);
            return Answer::own(self.nowhere(policy, host(&request), path, &fault));
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
                    gateway.nowhere(&policy, host(&request), request.uri().path(), &fault)
                }
            }
        };
        Answer::Boxed(answer.boxed())
    }

    /// What a request is told that leads nowhere: with which verbs its path would mean a method, if there are any.
    fn nowhere(&self, policy: &Policy, host: &str, path: &str, fault: &Fault) -> Response<Body> {
        let routes = self.parts.catalog.routes();
        let verbs = routes.verbs(path, |service| self.may_answer(policy, host, service)).join(", ");
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

    /// What a request at `host` for `path` means, where `policy` does not say it.
    fn aim(&self, policy: &Policy, host: &str, path: &str) -> Aim {
        let handler = policy.handler.unwrap_or(self.settings.handler);
        let (names, method) = self.settings.names(handler, host, path);
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
}

/// gRPC's words for a service that is not there.
fn status(unreachable: &Unreachable) -> tonic::Status {
    match unreachable {
        Unreachable::Unknown(_) => tonic::Status::unimplemented(chain(unreachable)),
        Unreachable::Unavailable { .. } => tonic::Status::unavailable(chain(unreachable)),
    }
}
