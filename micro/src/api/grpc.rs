//! Which service a gRPC call is for.

use std::borrow::Cow;

use http::{Request, header};

use super::resolver::{Resolver, host, is_name};

/// What a gRPC request comes as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// gRPC itself.
    Native,
    /// gRPC-Web, binary or text.
    Web,
}

impl Kind {
    /// What `request` is, if it is gRPC.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE)?.as_bytes();
        let rest = kind
            .get(..16)
            .filter(|start| start.eq_ignore_ascii_case(b"application/grpc"))
            .map(|_| &kind[16..])?;
        match rest {
            [] | [b'+' | b';' | b' ', ..] => Some(Self::Native),
            [b'-', ..] => Some(Self::Web),
            _ => None,
        }
    }
}

/// What the service of a gRPC call may be called, as `resolver` has it: by its package, its whole name, its own in small
/// letters, its package with the hyphens that a package cannot have, or else the host that the request is for. Each is worked
/// out when those before it are not enough.
pub(super) fn candidates<B>(resolver: Resolver, request: &Request<B>) -> impl Iterator<Item = Cow<'_, str>> {
    let full = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let (package, own) = full.rsplit_once('.').unwrap_or(("", full));
    let lenient = !matches!(resolver, Resolver::Host | Resolver::Grpc);
    let others = || {
        [Cow::Borrowed(full)]
            .into_iter()
            .chain(std::iter::once_with(|| Cow::Owned(own.to_ascii_lowercase())))
            .chain(std::iter::once_with(|| Cow::Owned(package.replace('_', "-"))))
    };
    let by_package = (resolver != Resolver::Host).then_some(Cow::Borrowed(package));
    let by_host = (resolver != Resolver::Grpc).then(|| std::iter::once_with(|| Cow::Borrowed(host(request))));
    let others = lenient.then(others).into_iter().flatten();
    by_package.into_iter().chain(others).chain(by_host.into_iter().flatten()).filter(|name| is_name(name))
}

/// Whether `path` is that of a gRPC method, `/package.Service/Method`.
pub(super) fn is_method(path: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(service), Some(method), None) => {
            service.contains('.') && service.split('.').all(word) && word(method)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_what_its_package_says() {
        let names = |resolver: Resolver, path: &str| {
            let request = Request::post(format!("http://gateway{path}")).body(()).unwrap();
            candidates(resolver, &request).map(Cow::into_owned).collect::<Vec<_>>()
        };
        let path = "/shop.v1.Shop/Get";
        for resolver in [Resolver::Micro, Resolver::Path, Resolver::VersionedPath] {
            assert_eq!(names(resolver, path), ["shop.v1", "shop.v1.Shop", "shop", "shop.v1", "gateway"]);
        }
        assert_eq!(names(Resolver::Grpc, path), ["shop.v1"]);
        assert_eq!(names(Resolver::Host, path), ["gateway"]);
        let at = |host: &str| {
            let request = Request::post(path).header(header::HOST, host).body(()).unwrap();
            candidates(Resolver::Host, &request).map(Cow::into_owned).next()
        };
        assert_eq!((at("3d.example:80").as_deref(), at("127.0.0.1:80")), (Some("3d.example"), None));
        // As `micro new order-book` writes it.
        let written = names(Resolver::Micro, "/order_book.OrderBook/Call");
        assert_eq!(written, ["order_book", "order_book.OrderBook", "orderbook", "order-book", "gateway"]);
    }
}
