//! From a path to the service and method it means: go-micro's rules.
//!
//! | rule | `/foo/bar` | `/v1/foo/bar` | `/foo/bar/baz/cat` |
//! |---|---|---|---|
//! | [`api_route`] | `foo`, `Foo.Bar` | `v1.foo`, `Foo.Bar` | `foo.bar`, `Baz.Cat` |
//! | [`proxy_route`] | `foo` | `v1.foo` | `foo` |
//! | [`path_route`] | `foo` | `v1` | `foo` |
//! | [`versioned_path_route`] | `foo` | `foo` | `foo` |
//! | [`method_route`] | `Foo.Bar` | `Foo.Bar` | `Baz.Cat` |
//! | [`event_route`] | `foo`, `bar` | `v1.foo`, `foo.bar` | `foo`, `bar.baz.cat` |
//!
//! [`grpc_route`] is for the paths of gRPC: `foo` of `/foo.Bar/Baz`. Which of them hold is the gateway's
//! [`Resolver`](super::Resolver).

use std::borrow::Cow;

/// A service and one of its methods, such as `foo` and `Foo.Bar`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRoute {
    /// The service's name without its namespace.
    pub service: String,
    /// The method.
    pub method: String,
}

/// A topic and what happened there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRoute {
    /// The topic without its namespace; empty for the namespace itself.
    pub topic: String,
    /// What happened.
    pub action: String,
}

/// Which service and method `path` means to the handlers that call methods. None where it names no service.
pub fn api_route(path: &str) -> Option<ApiRoute> {
    let parts = parts(path);
    let service = match parts.as_slice() {
        [] => return None,
        // As go-micro's gateway has it since v5: `/foo/Foo.Bar`.
        [service @ .., method] if method.contains('.') => service,
        [_] | [_, _] => &parts[..1],
        [version, _, _] if is_version(version) => &parts[..2],
        [service @ .., _, _] => service,
    };
    if !service.iter().all(|part| is_name(part)) {
        return None;
    }
    Some(ApiRoute { service: service.join("."), method: method(&parts)? })
}

/// Which method `path` means where it names no service, or only by its first part.
pub fn method_route(path: &str) -> Option<String> {
    method(&parts(path))
}

/// Which service `path` means to the handlers that pass requests on. None where it names no service.
pub fn proxy_route(path: &str) -> Option<Cow<'_, str>> {
    let mut parts = each(path);
    let first = parts.next()?;
    match is_version(first).then(|| parts.next()).flatten() {
        Some(name) => is_alias(name).then(|| format!("{first}.{name}").into()),
        None => is_alias(first).then_some(first.into()),
    }
}

/// Which service the first part of `path` means: any name, with dots or without.
pub fn path_route(path: &str) -> Option<&str> {
    each(path).next().filter(|part| is_service(part))
}

/// The same behind a version, which is nobody's name: `/v1/foo/bar` is `foo`'s, as `/foo/bar` is.
pub fn versioned_path_route(path: &str) -> Option<&str> {
    let mut parts = each(path);
    let first = parts.next()?;
    let named = is_version(first).then(|| parts.next()).flatten().unwrap_or(first);
    is_service(named).then_some(named)
}

/// Which service the path of a gRPC method means: `/foo.Bar/Baz` is `foo`'s.
pub fn grpc_route(path: &str) -> Option<&str> {
    let (package, _) = each(path).next()?.rsplit_once('.')?;
    is_service(package).then_some(package)
}

/// Which topic and action `path` means to the handler that publishes events.
pub fn event_route(path: &str) -> EventRoute {
    let parts = parts(path);
    let (topic, action) = match parts.as_slice() {
        [] => return EventRoute { topic: String::new(), action: "event".to_owned() },
        [version, rest @ ..] if is_version(version) && !rest.is_empty() => {
            (format!("{version}.{}", rest[0]), rest)
        }
        [first, rest @ ..] => ((*first).to_owned(), rest),
    };
    EventRoute { topic, action: action.join(".") }
}

/// The whole name of `service` in `namespace`: joined by a dot; a namespace that ends in one needs none, and one that
/// ends in `-` has no dots in its names.
pub fn join<'a>(namespace: &str, service: &'a str) -> Cow<'a, str> {
    let joined = match namespace.as_bytes().last() {
        None => return service.into(),
        _ if service.is_empty() => namespace.trim_end_matches(['.', '-']).to_owned(),
        Some(b'.') => [namespace, service].concat(),
        Some(b'-') => [namespace, service].concat().replace('.', "-"),
        Some(_) => [namespace, ".", service].concat(),
    };
    joined.into()
}

/// What stands between slashes; nothing twice.
fn parts(path: &str) -> Vec<&str> {
    each(path).collect()
}

fn each(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// `v1`, `v22`.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Letters, digits, and `-` between them.
fn is_alias(part: &str) -> bool {
    part.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// The last two of `parts`, or the last alone where that is a whole name: `Bar.Baz` of `/foo/bar/baz` and `/foo/Bar.Baz`.
fn method(parts: &[&str]) -> Option<String> {
    let last = match parts {
        [.., method] if method.contains('.') => std::slice::from_ref(method),
        _ => &parts[parts.len().saturating_sub(2)..],
    };
    let words: Vec<_> = last.iter().map(|part| camel(part)).collect();
    (!words.is_empty()).then(|| words.join("."))
}

/// Whether a service may be called `name`: words of letters, digits, `-` and `_`, with dots between them.
pub(super) fn is_service(name: &str) -> bool {
    name.split('.').all(|part| !part.is_empty() && is_name(part))
}

/// What may stand between the dots of a service's name. Dots in a path's part could reach out of the namespace's tree.
fn is_name(part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// `foo-bar` as `FooBar`.
fn camel(part: &str) -> String {
    let title = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect::<String>())
            .unwrap_or_default()
    };
    part.split('-').map(title).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_as_go_micro_finds_them() {
        let cases = [
            ("/foo", "foo", "Foo"),
            ("/foo/bar", "foo", "Foo.Bar"),
            ("/foo/foo/bar", "foo", "Foo.Bar"),
            ("/foo/bar/baz", "foo", "Bar.Baz"),
            ("/foo/bar/baz-xyz", "foo", "Bar.BazXyz"),
            ("/foo-bar/baz", "foo-bar", "FooBar.Baz"),
            ("/foo/bar/baz/cat", "foo.bar", "Baz.Cat"),
            ("/foo/bar/baz/cat/car", "foo.bar.baz", "Cat.Car"),
            ("/v1/foo/bar", "v1.foo", "Foo.Bar"),
            ("/v1/foo/bar/baz", "v1.foo", "Bar.Baz"),
            ("/v1/foo/bar/baz/cat", "v1.foo.bar", "Baz.Cat"),
            ("/foo//bar/", "foo", "Foo.Bar"),
            ("/foo/Bar.Baz", "foo", "Bar.Baz"),
            ("/v1/foo/Bar.Baz", "v1.foo", "Bar.Baz"),
        ];
        for (path, service, method) in cases {
            let route = ApiRoute { service: service.to_owned(), method: method.to_owned() };
            assert_eq!(api_route(path), Some(route), "{path}");
        }
        assert_eq!(api_route("/"), None);
        assert_eq!(api_route("/a.b/c"), None);
        assert_eq!(api_route("/a%20b/c"), None);
    }

    #[test]
    fn services_are_found_as_go_micro_finds_them() {
        let cases = [
            ("/f", Some("f")),
            ("/f-b", Some("f-b")),
            ("/foo/bar", Some("foo")),
            ("/foo-bar", Some("foo-bar")),
            ("/foo-bar-baz", Some("foo-bar-baz")),
            ("/foo/bar/baz", Some("foo")),
            ("/v1/foo/bar", Some("v1.foo")),
            ("/v1/foo/bar/baz", Some("v1.foo")),
            ("/v1/foo/bar/baz/cat", Some("v1.foo")),
            ("/", None),
            ("/-foo", None),
            ("/foo-", None),
            ("/foo--bar", None),
            ("/foo.bar/x", None),
            ("/foo@evil/x", None),
            ("/foo:80/x", None),
        ];
        for (path, service) in cases {
            assert_eq!(proxy_route(path).as_deref(), service, "{path}");
        }
    }

    #[test]
    fn topics_are_found_as_go_micro_finds_them() {
        let cases = [
            ("/", "ns", "event"),
            ("/foo", "ns.foo", ""),
            ("/foo/bar", "ns.foo", "bar"),
            ("/foo/bar/baz", "ns.foo", "bar.baz"),
            ("/v1/foo/bar", "ns.v1.foo", "foo.bar"),
        ];
        for (path, topic, action) in cases {
            let route = event_route(path);
            assert_eq!((&*join("ns", &route.topic), route.action.as_str()), (topic, action), "{path}");
        }
    }

    #[test]
    fn namespaces_join_by_how_they_end() {
        assert_eq!(join("", "foo"), "foo");
        assert_eq!(join("go.micro.api", "v1.foo"), "go.micro.api.v1.foo");
        assert_eq!(join("go.micro.api.", "foo"), "go.micro.api.foo");
        assert_eq!(join("go.micro-", "v1.foo"), "go-micro-v1-foo");
    }
}
