//! Which names a request may mean.

use std::borrow::Cow;
use std::sync::Arc;

use http::Request;

use super::grpc::candidates;
use super::handler::Handler;
use super::resolver::{Resolver, host};
use super::settings::Builder;
use crate::proxy::{Directory, Upstream};

impl Builder {
    /// The web server that `request` means, where a call would mean the same and nothing else has to be asked.
    pub(super) fn obvious<B>(&self, request: &Request<B>, directory: &Directory) -> Option<Arc<Upstream>> {
        let path = request.uri().path();
        let is_long = || path.bytes().filter(|&byte| byte == b'/').count() > 3;
        if self.handler != Handler::Meta || (self.resolver == Resolver::Micro && is_long()) {
            return None;
        }
        let host = if self.resolver == Resolver::Host { host(request) } else { "" };
        let service = self.resolver.service(host, path)?;
        let upstream = self.namespace.names(&service).find_map(|name| directory.find(&name))?;
        upstream.is_plain().then_some(upstream)
    }

    /// The names that the service of a request at `host` for `path` may have, the likeliest first, and the method that it
    /// means.
    pub(super) fn names(&self, handler: Handler, host: &str, path: &str) -> (Vec<String>, Option<String>) {
        let called = match handler {
            Handler::Meta | Handler::Api | Handler::Rpc => self.resolver.method(host, path),
            Handler::Http | Handler::Web | Handler::Event => None,
        };
        let passed = match handler {
            Handler::Meta | Handler::Http | Handler::Web => self.resolver.service(host, path),
            Handler::Api | Handler::Rpc | Handler::Event => None,
        };
        // `/Foo.Bar` is a method of nobody, unless a rule says of whom.
        let called_service = called.iter().map(|route| &*route.service).filter(|service| !service.is_empty());
        let names = self.whole_names(called_service.chain(passed.as_deref()).map(Cow::Borrowed));
        (names, called.map(|route| route.method))
    }

    /// The names that the service of a gRPC call may have, the likeliest first.
    pub(super) fn grpc_names<B>(&self, request: &Request<B>) -> Vec<String> {
        self.whole_names(candidates(self.resolver, request))
    }

    /// What `directory` has for a gRPC call already.
    pub(super) fn grpc_upstream<B>(
        &self,
        request: &Request<B>,
        directory: &Directory,
    ) -> Option<Arc<Upstream>> {
        candidates(self.resolver, request)
            .find_map(|service| self.namespace.names(&service).find_map(|name| directory.find(&name)))
    }

    /// Whether what `service` announces holds for a request at `host`.
    pub(super) fn is_at(&self, host: &str, service: &str) -> bool {
        self.resolver != Resolver::Host
            || self.namespace.names(host).any(|name| name.eq_ignore_ascii_case(service))
    }

    /// `services` with their namespaces, nothing twice. Hosts are the same in small letters.
    fn whole_names<'a>(&self, services: impl Iterator<Item = Cow<'a, str>>) -> Vec<String> {
        let mut names = Vec::new();
        let mut add = |service: &str| {
            for name in self.namespace.names(service).map(Cow::into_owned) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        };
        for service in services {
            add(&service);
            if self.resolver == Resolver::Host {
                add(&service.to_ascii_lowercase());
            }
        }
        names
    }
}
