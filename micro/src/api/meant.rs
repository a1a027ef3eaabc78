//! Requests that mean a method of gRPC, and are none of gRPC: by a route that the method names, or by the method's own path.

use std::sync::Arc;

use http::{Method, Request, Response};
use tonic::body::Body;

use super::gateway::Inner;
use super::grpc;
use super::hand::Aim;
use super::handler::Handler;
use super::policy::Policy;
use super::resolver::{Resolver, host};
use crate::proxy::{Peer, Upstream, metered, refuse_coded};
use crate::transcode::{Found, transcode};

/// How a request names a method.
pub(super) enum Meant {
    /// By a route of this service's.
    Route(Arc<str>, Box<Found>),
    /// By the path that gRPC has for it.
    Path,
}

impl Inner {
    /// The method that `request` means by a route that the method names, or by the method's own path.
    pub(super) fn meant(&self, policy: &Policy, request: &Request<Body>) -> Option<Meant> {
        if policy.method.is_some() || !matches!(policy.handler, None | Some(Handler::Meta | Handler::Rpc)) {
            return None;
        }
        let path = request.uri().path();
        let routes = self.parts.catalog.routes();
        if !routes.is_empty()
            && let Some((service, found)) =
                routes.find(request.method(), path, |service| self.may_answer(policy, host(request), service))
        {
            return Some(Meant::Route(service, Box::new(found)));
        }
        let is_passed =
            policy.handler.is_none() && matches!(self.settings.handler, Handler::Http | Handler::Web);
        // A path of go-micro has no dot where a package has one.
        (request.method() == Method::POST && !is_passed && grpc::is_method(path)).then_some(Meant::Path)
    }

    /// Whether `service` may say that requests at `host` are for it.
    pub(super) fn may_answer(&self, policy: &Policy, host: &str, service: &str) -> bool {
        match &policy.service {
            Some(own) => own == service,
            None => self.settings.is_at(host, service),
        }
    }

    /// Answers a request that means a method.
    pub(super) async fn answer_meant(
        self: Arc<Self>,
        policy: Arc<Policy>,
        meant: Meant,
        request: Request<Body>,
        peer: Peer,
    ) -> Response<Body> {
        let names = match &meant {
            Meant::Route(service, _) => vec![service.to_string()],
            Meant::Path => self.grpc_names(&policy, &request),
        };
        let upstream = match self.parts.directory.first(&names).await {
            Ok(upstream) => upstream,
            Err(unreachable) => return unreachable.fault(policy.id()).response(),
        };
        match meant {
            Meant::Route(_, found) => call(&policy, &upstream, *found, request).await,
            Meant::Path => {
                let method = request.uri().path().to_owned();
                let handler = self.by_path(&policy, &upstream, &method);
                let aim = Aim { names, method: Some(method), handler };
                self.hand(&policy, &upstream, &aim, request, peer).into_response().await
            }
        }
    }

    /// How a request goes to `upstream` that is posted to the path of a method: to a web server it may mean anything, unless it
    /// is set that methods are called.
    fn by_path(&self, policy: &Policy, upstream: &Upstream, method: &str) -> Handler {
        if policy.handler.unwrap_or(self.settings.handler) != Handler::Meta {
            return Handler::Rpc;
        }
        let by_package = policy.service.is_none() && self.settings.resolver != Resolver::Host;
        match Handler::said(upstream, Some(method)) {
            Some(said) if !upstream.is_described() => said,
            None if !by_package && upstream.is_plain() => Handler::Http,
            _ => Handler::Rpc,
        }
    }

    /// The names that the service of a gRPC call may have, the likeliest first.
    pub(super) fn grpc_names(&self, policy: &Policy, request: &Request<Body>) -> Vec<String> {
        match &policy.service {
            Some(service) => vec![service.clone()],
            None => self.settings.grpc_names(request),
        }
    }
}

/// Calls the method that a route has found.
async fn call(policy: &Policy, upstream: &Upstream, found: Found, request: Request<Body>) -> Response<Body> {
    if let Some(refusal) = refuse_coded(policy.id(), request.headers()) {
        return refusal;
    }
    let (client, how) = (policy.client(upstream), policy.transcoding());
    let method = found.method().full_name().to_owned();
    metered(upstream, &method, request, |request| transcode(client, found, request, &how)).await
}
