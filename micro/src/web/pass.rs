//! Passes requests on to the web apps below whose names they are, WebSockets included.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::apps::{ID, asks_for_a_page, there};
use super::guard::own;
use super::login::COOKIE;
use super::page;
use super::view::View;
use crate::proxy::{Fault, Peer, Unreachable, Upstream, check_path, forward, request_id};

/// Where an app stands: what it puts before its own links.
const BASE_PATH: HeaderName = HeaderName::from_static("x-micro-web-base-path");

/// What browsers are told of an app's answer at the dashboard's own origin: if it is shown after all, then without what is
/// the origin's.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts");

/// At the dashboard's origin: sends browsers to the apps' own for pages, and passes on what else is asked for.
pub(super) async fn pass(State(view): State<View>, request: Request) -> Response {
    let elsewhere = view.apps.origin(request.headers()).filter(|_| asks_for_a_page(request.headers()));
    let none = "There is no such page, and no web app of this name.";
    match find(&view, request.uri().path()).await {
        Ok(found) => match elsewhere {
            Some(origin) => Redirect::temporary(&there(&origin, request.uri())).into_response(),
            None => {
                let mut response = carry(&view, found, request).await;
                response.headers_mut().append(header::CONTENT_SECURITY_POLICY, SANDBOX);
                response
            }
        },
        Err(Missing::Nobody) => own(page::missing(&view, none)),
        Err(Missing::Fault(fault)) => fault.response().map(Body::new),
    }
}

/// At the apps' own origin: passes everything on.
pub(super) async fn pass_there(State(view): State<View>, request: Request) -> Response {
    match find(&view, request.uri().path()).await {
        Ok(found) => carry(&view, found, request).await,
        Err(Missing::Nobody) => (StatusCode::NOT_FOUND, "there is no web app of this name\n").into_response(),
        Err(Missing::Fault(fault)) => fault.response().map(Body::new),
    }
}

/// An app, and what is left of the path behind its name: nothing where not even a slash is there.
struct Found {
    app: String,
    rest: Option<String>,
    upstream: Arc<Upstream>,
}

/// Why there is none.
enum Missing {
    Nobody,
    Fault(Fault),
}

/// The web app that `path`, as `/{app}/…`, is for.
async fn find(view: &View, path: &str) -> Result<Found, Missing> {
    check_path(path).map_err(|why| Missing::Fault(Fault::new(ID, StatusCode::BAD_REQUEST, why)))?;
    let (app, rest) = app_of(path).ok_or(Missing::Nobody)?;
    let upstream = view.apps.directory.look_up(&format!("{}.{app}", view.namespace)).await;
    let upstream = upstream.map_err(|error| match error {
        Unreachable::Unknown(_) => Missing::Nobody,
        error => Missing::Fault(error.fault(ID)),
    })?;
    Ok(Found { app: app.to_owned(), rest: rest.map(str::to_owned), upstream })
}

/// Passes a request on to its app.
async fn carry(view: &View, found: Found, request: Request) -> Response {
    let Found { app, rest, upstream } = found;
    let Some(rest) = rest else { return Redirect::permanent(&format!("/{app}/")).into_response() };
    let mut request = request.map(tonic::body::Body::new);
    request_id(request.headers_mut());
    let how = view.apps.forwarding(request.headers());
    if !below(&mut request, &app, &rest) {
        let fault = Fault::new(ID, StatusCode::BAD_REQUEST, "the path cannot be passed on");
        return fault.response().map(Body::new);
    }
    let peer = Peer::of(request.extensions());
    let mut response = forward(&upstream, upstream.wire(), request, &peer, &how).await;
    keep_login(response.headers_mut());
    response.map(Body::new)
}

/// The app that a path names, and what is left of the path: nothing where not even its slash is there.
fn app_of(path: &str) -> Option<(&str, Option<&str>)> {
    let path = path.strip_prefix('/')?;
    let (app, rest) = match path.find('/') {
        Some(slash) => (&path[..slash], Some(&path[slash..])),
        None => (path, None),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!app.is_empty() && app.bytes().all(plain)).then_some((app, rest))
}

/// Makes a request of the dashboard one of the app's: its path, and none of what logs in here.
fn below(request: &mut http::Request<tonic::body::Body>, app: &str, rest: &str) -> bool {
    let whole = match request.uri().query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let (Ok(path), Ok(base)) = (whole.parse::<PathAndQuery>(), HeaderValue::from_str(&format!("/{app}")))
    else {
        return false;
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.path_and_query = Some(path);
    let Ok(uri) = Uri::from_parts(parts) else { return false };
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(BASE_PATH, base);
    headers.remove(header::AUTHORIZATION);
    let cookies: Vec<_> =
        headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
    let others: Vec<_> =
        cookies.iter().flat_map(|value| value.split("; ")).filter(|cookie| !is_login(cookie)).collect();
    let others = HeaderValue::from_str(&others.join("; ")).ok().filter(|value| !value.is_empty());
    headers.remove(header::COOKIE);
    headers.extend(others.map(|value| (header::COOKIE, value)));
    true
}

/// Takes away what an app says of the dashboard's own cookie.
fn keep_login(headers: &mut HeaderMap) {
    let all: Vec<_> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    if all.iter().any(|cookie| cookie.to_str().is_ok_and(is_login)) {
        headers.remove(header::SET_COOKIE);
        let others = all.into_iter().filter(|cookie| !cookie.to_str().is_ok_and(is_login));
        headers.extend(others.map(|cookie| (header::SET_COOKIE, cookie)));
    }
}

fn is_login(cookie: impl AsRef<str>) -> bool {
    cookie.as_ref().split('=').next().is_some_and(|name| name.trim() == COOKIE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_app_and_the_rest_is_the_apps() {
        assert_eq!(app_of("/shop"), Some(("shop", None)));
        assert_eq!(app_of("/shop/"), Some(("shop", Some("/"))));
        assert_eq!(app_of("/shop/a//b"), Some(("shop", Some("/a//b"))));
        for none in ["/", "//a", "/sh op/", "/sh%2fop/", "/<b>/"] {
            assert_eq!(app_of(none), None, "{none}");
        }
    }

    #[test]
    fn an_app_neither_sees_nor_sets_the_login() {
        let mut request = http::Request::get("/shop/a?b=c")
            .header("cookie", "theme=dark; micro-web=secret")
            .header("authorization", "Bearer secret")
            .body(tonic::body::Body::empty())
            .unwrap();
        assert!(below(&mut request, "shop", "/a"));
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(
            (&request.headers()["cookie"], &request.headers()[BASE_PATH]),
            (&"theme=dark".parse().unwrap(), &"/shop".parse().unwrap())
        );
        assert!(!request.headers().contains_key("authorization"));
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("micro-web=mine; Path=/"));
        headers.append("set-cookie", HeaderValue::from_static("theme=light"));
        keep_login(&mut headers);
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["theme=light"]);
    }
}
