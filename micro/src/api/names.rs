//! Which names a path may mean.

use std::borrow::Cow;
use std::sync::Arc;

use super::handler::Handler;
use super::route::{api_route, proxy_route};
use super::settings::Builder;
use crate::proxy::{Directory, Upstream};

impl Builder {
    /// The web server that `path` means, where both rules for paths mean the same and nothing else has to be asked.
    pub(super) fn obvious(&self, path: &str, directory: &Directory) -> Option<Arc<Upstream>> {
        if self.handler != Handler::Meta || path.bytes().filter(|&byte| byte == b'/').count() > 3 {
            return None;
        }
        let service = proxy_route(path)?;
        let upstream = self.namespace.names(&service).find_map(|name| directory.find(&name))?;
        upstream.is_plain().then_some(upstream)
    }

    /// The names that the service of `path` may have, the likeliest first, and the method that it means.
    pub(super) fn names(&self, handler: Handler, path: &str) -> (Vec<String>, Option<String>) {
        let called = match handler {
            Handler::Meta | Handler::Api | Handler::Rpc => api_route(path),
            Handler::Http | Handler::Web | Handler::Event => None,
        };
        let passed = match handler {
            Handler::Meta | Handler::Http | Handler::Web => proxy_route(path),
            Handler::Api | Handler::Rpc | Handler::Event => None,
        };
        // `/Foo.Bar` is a method of nobody, unless a rule says of whom.
        let called_service = called.iter().map(|route| &*route.service).filter(|service| !service.is_empty());
        let mut names = Vec::new();
        for service in called_service.chain(passed.as_deref()) {
            for name in self.namespace.names(service).map(Cow::into_owned) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        (names, called.map(|route| route.method))
    }
}
