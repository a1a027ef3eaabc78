//! Handing a request to the service that it is for, in the way that it wants.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use tonic::body::Body;

use super::called;
use super::event::{About, How, publish};
use super::gateway::Inner;
use super::handler::Handler;
use super::policy::Policy;
use super::response::Answer;
use super::route::event_route;
use crate::proxy::{Fault, Forward, Peer, Upstream, Wire, forward, refuse_coded};

/// Where a request is to go.
pub(super) struct Aim {
    /// The names that the service may have, the likeliest first.
    pub(super) names: Vec<String>,
    pub(super) method: Option<String>,
    pub(super) handler: Handler,
}

impl Inner {
    /// Hands `request` to `upstream`, in the way that is set or that it wants.
    pub(super) fn hand(
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
    pub(super) fn publish(&self, policy: &Policy, request: Request<Body>) -> Answer {
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

pub(super) fn pass(
    policy: &Policy,
    to: &Arc<Upstream>,
    wire: Wire,
    request: Request<Body>,
    peer: &Peer,
) -> Pin<Box<Forward>> {
    Box::pin(forward(to, wire, request, peer, &policy.forwarding))
}

pub(super) fn refuse(policy: &Policy, status: StatusCode, detail: &str) -> Answer {
    Answer::own(Fault::new(policy.id(), status, detail).response())
}
