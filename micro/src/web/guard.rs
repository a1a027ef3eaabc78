//! Who may ask the dashboard for what: hosts, origins, logins, and what browsers are told to forbid.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::view::View;
use crate::this_machine::is_this_machine;

/// Scripts, styles and pictures come from the dashboard itself and from nowhere else; nothing stands inline, and no
/// other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Lets a request through if its host, its origin and its login are in order.
pub(super) async fn guard(State(view): State<View>, request: Request, next: Next) -> Response {
    // Whoever has logged in is known by more than a host, so only a dashboard without a login minds it.
    if view.login.is_none() && !is_local(request.headers()) {
        return refused(
            StatusCode::MISDIRECTED_REQUEST,
            "the dashboard answers to this machine's names only\n",
        );
    }
    if !is_safe(request.method()) && !is_own(request.headers()) {
        return refused(StatusCode::FORBIDDEN, "this request comes from another page than the dashboard's\n");
    }
    if let Some(login) = &view.login {
        let path = request.uri().path();
        let open = matches!(path, "/login" | "/favicon.ico") || path.starts_with("/assets/");
        if !open && !login.knows(request.headers()) {
            return if is_safe(request.method()) && accepts_pages(request.headers()) {
                Redirect::to("/login").into_response()
            } else {
                refused(StatusCode::UNAUTHORIZED, "log in first, or send authorization: Bearer TOKEN\n")
            };
        }
    }
    next.run(request).await
}

/// Lets a request to the apps' origin through likewise; who is not logged in has to do so at the dashboard.
pub(super) async fn guard_apps(State(view): State<View>, request: Request, next: Next) -> Response {
    match &view.login {
        None if !is_local(request.headers()) => {
            refused(StatusCode::MISDIRECTED_REQUEST, "web apps are shown at this machine's names only\n")
        }
        Some(login) if !login.knows(request.headers()) => {
            refused(StatusCode::UNAUTHORIZED, "log in at the dashboard first\n")
        }
        _ if !is_safe(request.method()) && !is_own(request.headers()) => {
            refused(StatusCode::FORBIDDEN, "this request comes from another page than the app's\n")
        }
        _ => next.run(request).await,
    }
}

/// Adds to the dashboard's own pages what browsers are told.
pub(super) async fn policy(request: Request, next: Next) -> Response {
    own(next.run(request).await)
}

/// A page of the dashboard's own, with what browsers are told of it.
pub(super) fn own(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        // Pages at another port are of the same site, and bring its cookies: they are not to have our answers.
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refused(status: StatusCode, why: &'static str) -> Response {
    (status, why).into_response()
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn accepts_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Whether the host is a name of this machine: what a page elsewhere that has rebound its name cannot say.
fn is_local(headers: &HeaderMap) -> bool {
    authority(headers).is_some_and(|authority| is_this_machine(authority.as_str()))
}

fn authority(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?.parse().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether a request that changes something comes from the dashboard's own pages, or from no page at all: a
/// browser always tells where such a request is from.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    let own = authority(headers).map(|authority| authority.to_string());
    let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    headers.get_all(header::ORIGIN).iter().count() == 1
        && of.is_some_and(|of| own.is_some_and(|own| own.eq_ignore_ascii_case(of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &'static str, more: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        for (name, value) in more {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn two_hosts_are_none() {
        assert!(is_local(&headers("localhost", &[])) && !is_local(&headers("evil.example", &[])));
        assert!(!is_local(&headers("localhost", &[("host", "evil.example")])));
    }

    #[test]
    fn a_change_comes_from_the_dashboards_own_pages() {
        let host = "localhost:8082";
        let own = |more: &[(&'static str, &'static str)]| is_own(&headers(host, more));
        assert!(own(&[]), "a program that is no browser");
        assert!(own(&[("origin", "http://localhost:8082"), ("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "https://localhost:8082")]), "TLS may end before us");
        for origin in
            ["http://evil.example", "null", "http://localhost:8083", "http://localhost:8082.evil.example", ""]
        {
            assert!(!is_own(&headers(host, &[("origin", origin)])), "{origin}");
        }
        assert!(!own(&[("sec-fetch-site", "cross-site")]));
        assert!(!own(&[("sec-fetch-site", "same-site")]));
        assert!(!own(&[("origin", "http://localhost:8082"), ("origin", "http://evil.example")]));
    }
}
