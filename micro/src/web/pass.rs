//! Passes requests on to the web apps below whose names they are, WebSockets included.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::apps::ID;
use super::login::COOKIE;
use super::page;
use super::view::View;
use crate::proxy::{Fault, Peer, Unreachable, check_path, forward, request_id};
use crate::traffic::Exchange;

/// Where an app stands: what it puts before its own links.
const BASE_PATH: HeaderName = HeaderName::from_static("x-micro-web-base-path");
/// The header by which a caller names itself.
const FROM: HeaderName = HeaderName::from_static("micro-from-service");
/// Passes a request for `/{app}/…` on to the web app of that name.
pub(super) async fn pass(State(view): State<View>, request: Request) -> Response {
    let path = request.uri().path();
    if let Err(why) = check_path(path) {
        return Fault::new(ID, StatusCode::BAD_REQUEST, why).response().map(Body::new);
    }
    let none = "There is no such page, and no web app of this name.";
    let Some((app, rest)) = app_of(path) else { return page::missing(&view, none) };
    let name = format!("{}.{app}", view.namespace);
    let upstream = match view.apps.directory.look_up(&name).await {
        Ok(upstream) => upstream,
        Err(Unreachable::Unknown(_)) => return page::missing(&view, none),
        Err(error) => {
            return Fault::new(ID, StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                .response()
                .map(Body::new);
        }
    };
    let Some(rest) = rest else { return Redirect::permanent(&format!("/{app}/")).into_response() };
    let (began, mut exchange) = (Instant::now(), Exchange::new(&name, request.uri().path(), "", false));
    let (app, rest) = (app.to_owned(), rest.to_owned());
    let mut request = request.map(tonic::body::Body::new);
    exchange.id = request_id(request.headers_mut()).to_str().unwrap_or_default().to_owned();
    exchange.from = text(request.headers(), &FROM).unwrap_or("browser").to_owned();
    if !below(&mut request, &app, &rest) {
        return Fault::new(ID, StatusCode::BAD_REQUEST, "the path cannot be passed on")
            .response()
            .map(Body::new);
    }
    let peer = Peer::of(request.extensions());
    let mut response = forward(&upstream, upstream.wire(), request, &peer, &view.apps.forwarding).await;
    keep_login(response.headers_mut());
    exchange.ok = !response.status().is_server_error();
    exchange.status = response.status().as_u16().to_string();
    exchange.millis = began.elapsed().as_secs_f64() * 1000.0;
    view.traffic.record(exchange);
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

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
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
