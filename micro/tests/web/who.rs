//! Who may use the dashboard, and for what.

use axum::body::Body;
use http::{Request, StatusCode, header};
use micro::web::Login;
use micro_discover::{Endpoint, Service};
use tower::ServiceExt;

use crate::site::{Site, text};

#[tokio::test]
async fn pages_elsewhere_can_neither_ask_nor_change() {
    let site = Site::new("elsewhere");
    let rebound = Request::get("/").header(header::HOST, "evil.example").body(Body::empty()).unwrap();
    assert_eq!(site.send(rebound).await.status(), StatusCode::MISDIRECTED_REQUEST);
    for path in ["/call", "/events", "/cli", "/logout"] {
        let forged = Request::post(path)
            .header(header::ORIGIN, "http://evil.example")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("topic=t&body=b&line=list"))
            .unwrap();
        assert_eq!(site.send(forged).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_run_nothing_that_stands_in_a_page() {
    let response = Site::new("policy").get("/").await;
    let headers = response.headers();
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (&headers["x-content-type-options"], &headers["x-frame-options"]),
        (&"nosniff".parse().unwrap(), &"DENY".parse().unwrap())
    );
    let page = text(response).await;
    assert!(!page.contains("<script>") && !page.contains(" style=") && !page.contains(" onclick="), "{page}");
    assert!(!page.contains("//cdn") && !page.contains("https://"), "everything is in the binary");
}

#[tokio::test]
async fn a_dashboard_with_a_login_shows_nothing_before_it() {
    let site = Site::with("login", |web| web.login(Login::token("open sesame")));
    for path in ["/", "/registry", "/live/services", "/tap/stream", "/nobody/"] {
        let response = site.get(path).await;
        assert_eq!(
            (response.status(), &response.headers()[header::LOCATION]),
            (StatusCode::SEE_OTHER, &"/login".parse().unwrap()),
            "{path}"
        );
    }
    let program = Request::get("/registry").header("accept", "application/json").body(Body::empty()).unwrap();
    assert_eq!(site.send(program).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(site.post("/call", "service=a&method=b").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(site.post("/login", "secret=guess").await.status(), StatusCode::UNAUTHORIZED);

    let welcome = site.post("/login", "secret=open+sesame").await;
    let cookie = welcome.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let with = |name, value: &str| Request::get("/").header(name, value).body(Body::empty()).unwrap();
    assert_eq!(
        site.send(with(header::COOKIE, cookie.split(';').next().unwrap())).await.status(),
        StatusCode::OK
    );
    assert_eq!(site.send(with(header::AUTHORIZATION, "Bearer open sesame")).await.status(), StatusCode::OK);
    let other_host = Request::get("/")
        .header(header::HOST, "dash.example")
        .header(header::AUTHORIZATION, "Bearer open sesame");
    assert_eq!(site.send(other_host.body(Body::empty()).unwrap()).await.status(), StatusCode::OK);
}

/// A web app that answers with what it is sent, below `/shop/`.
async fn shop(site: &Site) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let echo = axum::Router::new().fallback(async |headers: http::HeaderMap| format!("{headers:?}"));
    tokio::spawn(async move { axum::serve(listener, echo).await });
    let shop = Service::new("go.micro.web.shop").endpoint(Endpoint::new("a", address.parse().unwrap()));
    site.announce(&shop).await;
}

#[tokio::test]
async fn pages_of_web_apps_have_an_origin_of_their_own() {
    let site = Site::with("apps", |web| web.apps_at(8085));
    shop(&site).await;
    let ask = |dest: &'static str| {
        Request::get("/shop/a?b=c").header("sec-fetch-dest", dest).body(Body::empty()).unwrap()
    };
    for page in ["document", "iframe", "object"] {
        let response = site.send(ask(page)).await;
        assert_eq!(
            (response.status(), &response.headers()[header::LOCATION]),
            (StatusCode::TEMPORARY_REDIRECT, &"http://localhost:8085/shop/a?b=c".parse().unwrap()),
            "{page}"
        );
    }
    let part = site.send(ask("empty")).await;
    let policy = part.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("sandbox") && !policy.contains("allow-same-origin"), "{policy}");
    assert!(text(part).await.contains("x-micro-web-base-path"));

    let mut there = ask("document");
    there.headers_mut().insert(header::HOST, "localhost:8085".parse().unwrap());
    let there = site.web.apps_router().oneshot(there).await.unwrap();
    assert_eq!(
        (there.status(), there.headers().get(header::CONTENT_SECURITY_POLICY)),
        (StatusCode::OK, None)
    );
    for path in ["/", "/registry", "/cli", "/call"] {
        let mut own = Request::get(path).body(Body::empty()).unwrap();
        own.headers_mut().insert(header::HOST, "localhost:8085".parse().unwrap());
        let status = site.web.apps_router().oneshot(own).await.unwrap().status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{path} is the dashboard's");
    }
}

#[tokio::test]
async fn web_apps_are_behind_the_login_as_well_and_do_not_see_it() {
    let site = Site::with("apps-login", |web| web.apps_at(8085).login(Login::token("open sesame")));
    shop(&site).await;
    let ask = |name: header::HeaderName, value: &str| {
        let request = Request::get("/shop/").header(header::HOST, "localhost:8085");
        site.web.apps_router().oneshot(request.header(name, value).body(Body::empty()).unwrap())
    };
    assert_eq!(ask(header::ACCEPT, "text/html").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let welcome = site.post("/login", "secret=open+sesame").await;
    let cookie = welcome.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    let cookie = format!("theme=dark; {}", cookie.split(';').next().unwrap());
    let seen = text(ask(header::COOKIE, &cookie).await.unwrap()).await;
    assert!(seen.contains("theme=dark") && !seen.contains("micro-web="), "{seen}");
    let seen = text(ask(header::AUTHORIZATION, "Bearer open sesame").await.unwrap()).await;
    assert!(!seen.contains("sesame"), "{seen}");
}

#[tokio::test]
async fn a_read_only_dashboard_changes_nothing() {
    let site = Site::with("read-only", |web| web.read_only(true));
    assert_eq!(site.post("/call", "service=a&method=b").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(site.post("/events", "topic=t&body=b").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(site.post("/rpc", "service=a&method=b").await.status(), StatusCode::FORBIDDEN);
    assert!(!text(site.get("/events").await).await.contains("<form class=\"fields\" method=\"post\""));
}
