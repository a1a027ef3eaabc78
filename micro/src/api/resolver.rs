//! How a request names its service, where neither a route of the rules nor what a method announces says it.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::str::FromStr;

use http::{Request, header};

use super::route::{
    ApiRoute, api_route, grpc_route, is_service, method_route, path_route, proxy_route, versioned_path_route,
};

/// What names the service of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolver {
    /// The path, by [`api_route`] where a method is called and by [`proxy_route`] where the request is passed on; of a gRPC
    /// call its package, or what else may be meant by it.
    #[default]
    Micro,
    /// The host that the request is for, gRPC calls too; the whole path is the service's own. What methods announce, and
    /// routes of `google.api.http`, hold at their service's host.
    Host,
    /// The first part of the path, by [`path_route`]; of a gRPC call as [`Micro`](Self::Micro).
    Path,
    /// The same, or the second part behind a version, by [`versioned_path_route`].
    VersionedPath,
    /// The package in the path `/package.Service/Method`, by [`grpc_route`], and nothing else.
    Grpc,
}

/// No resolver has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no resolver is called {0:?}: it is micro, host, path, vpath or grpc")]
pub struct UnknownResolver(String);

impl FromStr for Resolver {
    type Err = UnknownResolver;

    fn from_str(text: &str) -> Result<Self, UnknownResolver> {
        match text {
            "micro" => Ok(Self::Micro),
            "host" => Ok(Self::Host),
            "path" => Ok(Self::Path),
            "vpath" => Ok(Self::VersionedPath),
            "grpc" => Ok(Self::Grpc),
            _ => Err(UnknownResolver(text.to_owned())),
        }
    }
}

impl Resolver {
    /// The service that a request at `host` for `path` is passed on to, without its namespace.
    pub(super) fn service<'a>(self, host: &'a str, path: &'a str) -> Option<Cow<'a, str>> {
        match self {
            Self::Micro => proxy_route(path),
            Self::Host => is_name(host).then_some(host.into()),
            Self::Path => path_route(path).map(Cow::Borrowed),
            Self::VersionedPath => versioned_path_route(path).map(Cow::Borrowed),
            Self::Grpc => grpc_route(path).map(Cow::Borrowed),
        }
    }

    /// The service and the method that a request at `host` calls by `path`.
    pub(super) fn method(self, host: &str, path: &str) -> Option<ApiRoute> {
        if self == Self::Micro {
            return api_route(path);
        }
        let method = match self {
            Self::Grpc => path.trim_start_matches('/').to_owned(),
            _ => method_route(path)?,
        };
        Some(ApiRoute { service: self.service(host, path)?.into_owned(), method })
    }

    /// What a request is told that names no service.
    pub(super) fn complaint(self) -> &'static str {
        match self {
            Self::Micro | Self::Path | Self::VersionedPath => "the path names no service",
            Self::Host => "the host names no service",
            Self::Grpc => "the path names no service: /package.Service/Method would",
        }
    }
}

/// Whether a service may be called `name`, which may be a host: an address is where the caller found us, and no service.
pub(super) fn is_name(name: &str) -> bool {
    is_service(name) && name.parse::<Ipv4Addr>().is_err()
}

/// The host that a request is for, without its port.
pub(super) fn host<B>(request: &Request<B>) -> &str {
    let said = || request.headers().get(header::HOST)?.to_str().ok();
    let host =
        request.uri().authority().map(|authority| authority.as_str()).or_else(said).unwrap_or_default();
    match host.rsplit_once(':') {
        // What is between brackets has colons of its own.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_what_is_set() {
        let none = None;
        for (path, by_path, by_version, by_package) in [
            ("/foo", Some("foo"), Some("foo"), none),
            ("/foo/bar", Some("foo"), Some("foo"), none),
            ("/v1/foo/bar", Some("v1"), Some("foo"), none),
            ("/v1", Some("v1"), Some("v1"), none),
            ("/a.b-c/bar", Some("a.b-c"), Some("a.b-c"), Some("a")),
            ("/foo.Bar/Baz", Some("foo.Bar"), Some("foo.Bar"), Some("foo")),
            ("/a.b.Bar/Baz", Some("a.b.Bar"), Some("a.b.Bar"), Some("a.b")),
            ("/foo@evil/x", none, none, none),
            ("/foo..x/y", none, none, none),
            ("/.x/y", none, none, none),
            ("/", none, none, none),
        ] {
            let service = |resolver: Resolver| resolver.service("shop.example", path);
            assert_eq!(service(Resolver::Path).as_deref(), by_path, "{path}");
            assert_eq!(service(Resolver::VersionedPath).as_deref(), by_version, "{path}");
            assert_eq!(service(Resolver::Grpc).as_deref(), by_package, "{path}");
            assert_eq!(service(Resolver::Host).as_deref(), Some("shop.example"), "{path}");
        }
        for host in ["", "127.0.0.1", "[::1]", "a..b", "a/b", "ü"] {
            assert_eq!(Resolver::Host.service(host, "/foo"), None, "{host}");
        }
    }

    #[test]
    fn a_method_is_what_the_path_says_of_it() {
        for (resolver, path, service, method) in [
            (Resolver::Host, "/call", "shop", "Call"),
            (Resolver::Host, "/greeter/call", "shop", "Greeter.Call"),
            (Resolver::Host, "/v1/greeter/say-it", "shop", "Greeter.SayIt"),
            (Resolver::Host, "/Greeter.Call", "shop", "Greeter.Call"),
            (Resolver::Path, "/foo/bar", "foo", "Foo.Bar"),
            (Resolver::Path, "/foo/bar/baz/cat", "foo", "Baz.Cat"),
            (Resolver::VersionedPath, "/v1/foo/bar", "foo", "Foo.Bar"),
            (Resolver::VersionedPath, "/v1/foo/bar/baz", "foo", "Bar.Baz"),
            (Resolver::Grpc, "/foo.Bar/Baz", "foo", "foo.Bar/Baz"),
            (Resolver::Micro, "/v1/foo/bar", "v1.foo", "Foo.Bar"),
        ] {
            let found = ApiRoute { service: service.to_owned(), method: method.to_owned() };
            assert_eq!(resolver.method("shop", path), Some(found), "{resolver:?} {path}");
        }
        assert_eq!(Resolver::Host.method("shop", "/"), None);
    }

    #[test]
    fn a_host_has_no_port() {
        for (said, host) in [("shop", "shop"), ("shop:80", "shop"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
        {
            let request = Request::get("/").header(header::HOST, said).body(()).unwrap();
            assert_eq!(super::host(&request), host);
        }
    }
}
