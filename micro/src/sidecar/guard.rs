//! Who may use the sidecar: whoever has the token, and no page of another host.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use super::state::{ID, Inner};
use crate::proxy::Fault;

const TOKEN: HeaderName = HeaderName::from_static("micro-token");

/// Lets a request through, or says why not; pages that are let in may read the answer.
pub(super) async fn guard(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    if !inner.origins.may_connect(request.headers()) || is_rebound(&request, &inner) {
        let detail = "a page of another host may not use this sidecar";
        return Fault::new(ID, StatusCode::FORBIDDEN, detail).response().into_response();
    }
    if let Some(answer) = inner.cors.preflight(&request) {
        return answer.into_response();
    }
    let page = inner.cors.allowed(request.headers());
    let mut response = known(&inner, request, next).await;
    if inner.cors.lets_in() {
        inner.cors.admit(response.headers_mut(), page);
    }
    response
}

/// Lets whoever has the token through. It goes no further.
async fn known(inner: &Inner, mut request: Request, next: Next) -> Response {
    let Some(token) = &inner.token else { return next.run(request).await };
    if request.uri().path() == "/health" || take(request.headers_mut(), token) {
        return next.run(request).await;
    }
    let detail = "this sidecar wants its token, as in authorization: Bearer TOKEN";
    let mut response = Fault::new(ID, StatusCode::UNAUTHORIZED, detail).response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response.into_response()
}

/// Whether a page came by a name that was made to mean this machine (DNS rebinding): then host and origin are the same, and
/// neither is this machine's nor a friend's. A token keeps such pages out by itself.
///
/// What a page reads of its own host has no origin: there the host has to do. A name without a dot is nobody's on the
/// internet, so that programs may call this machine what they like.
fn is_rebound(request: &Request, inner: &Inner) -> bool {
    if inner.token.is_some() {
        return false;
    }
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(origin) = text(header::ORIGIN) {
        return !is_local(origin) && !inner.friends.iter().any(|friend| friend == origin);
    }
    let host = request.uri().authority().map(Authority::as_str).or_else(|| text(header::HOST));
    let host = host.unwrap_or_default();
    let is_friend = |friend: &String| friend.split_once("://").is_some_and(|(_, of)| of == host);
    host.contains('.') && !is_local(&format!("http://{host}")) && !inner.friends.iter().any(is_friend)
}

/// Whether the host of an origin is an address, or this machine by its own name.
fn is_local(origin: &str) -> bool {
    let uri = origin.parse::<Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok()
}

/// Takes the token out of a request that has it.
fn take(headers: &mut HeaderMap, token: &str) -> bool {
    let bearer = |value: &HeaderValue| {
        let (scheme, given) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| same(given, token.as_bytes()))
    };
    if headers.get(header::AUTHORIZATION).and_then(bearer) == Some(true) {
        headers.remove(header::AUTHORIZATION);
        return true;
    }
    headers.remove(TOKEN).is_some_and(|given| same(given.as_bytes(), token.as_bytes()))
}

/// Takes as long wherever the difference is.
fn same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_this_machine_is_not_its_own() {
        for (origin, local) in [
            ("http://localhost:8081", true),
            ("http://127.0.0.1:8081", true),
            ("http://[::1]:8081", true),
            ("http://evil.example:8081", false),
            ("http://127.0.0.1.evil.example", false),
            ("null", false),
        ] {
            assert_eq!(is_local(origin), local, "{origin}");
        }
    }

    #[test]
    fn the_token_opens_and_goes_no_further() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        for (name, value, opens) in [
            ("authorization", "Bearer secret", true),
            ("authorization", "bearer secret", true),
            ("micro-token", "secret", true),
            ("authorization", "Bearer secre", false),
            ("authorization", "Basic secret", false),
            ("authorization", "B", false),
            ("micro-token", "", false),
        ] {
            let mut given = headers(name, value);
            assert_eq!(take(&mut given, "secret"), opens, "{name}: {value}");
            assert!(!opens || given.is_empty());
        }
    }
}
