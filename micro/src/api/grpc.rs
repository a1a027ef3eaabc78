//! Which service a gRPC call is for.

use std::borrow::Cow;

use http::{Request, header};

use super::settings::Namespace;

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

/// The names in the registry that the service of `/package.Service/Method` may have, the likeliest first.
pub(super) fn names<B>(namespace: &Namespace, request: &Request<B>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for candidate in candidates(request) {
        for name in namespace.names(&candidate) {
            if !names.iter().any(|other| *other == name) {
                names.push(name.into_owned());
            }
        }
    }
    names
}

/// What `find` has for the first of these names for which it has something.
pub(super) fn find<B, T>(
    namespace: &Namespace,
    request: &Request<B>,
    find: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    candidates(request).find_map(|candidate| namespace.names(&candidate).find_map(|name| find(&name)))
}

/// What the service may be called: by its package, its whole name, its own in small letters, its package with the hyphens
/// that a package cannot have, or else the host that the request is for. Each is worked out when those before it are not
/// enough.
fn candidates<B>(request: &Request<B>) -> impl Iterator<Item = Cow<'_, str>> {
    let full = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let (package, own) = full.rsplit_once('.').unwrap_or(("", full));
    let host = || request.uri().authority().map(|authority| authority.host()).unwrap_or_default();
    [Cow::Borrowed(package), Cow::Borrowed(full)]
        .into_iter()
        .chain(std::iter::once_with(|| Cow::Owned(own.to_ascii_lowercase())))
        .chain(std::iter::once_with(move || Cow::Owned(package.replace('_', "-"))))
        .chain(std::iter::once_with(move || Cow::Borrowed(host())))
        .filter(|name| is_name(name))
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

fn is_name(name: &str) -> bool {
    // A dot, or the end, behind nothing: no part between dots is empty.
    let mut before = b'.';
    let clean = name.bytes().all(|byte| {
        let after_dot = std::mem::replace(&mut before, byte) == b'.';
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && !after_dot)
    });
    // An address of an IP network is where the caller found us, and no service.
    clean && before != b'.' && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_what_its_package_says() {
        let names = |path: &str| {
            let request = Request::post(format!("http://gateway{path}")).body(()).unwrap();
            candidates(&request).map(Cow::into_owned).collect::<Vec<_>>()
        };
        assert_eq!(names("/shop.v1.Shop/Get"), ["shop.v1", "shop.v1.Shop", "shop", "shop.v1", "gateway"]);
        // As `micro new order-book` writes it.
        let written = names("/order_book.OrderBook/Call");
        assert_eq!(written, ["order_book", "order_book.OrderBook", "orderbook", "order-book", "gateway"]);
    }
}
