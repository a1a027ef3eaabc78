//! A dashboard under test, asked without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use micro::command::Context;
use micro::web::{Builder, Web};
use micro_discover::{Registry, Service};
use tower::ServiceExt;

/// A dashboard over a registry of its own.
pub(crate) struct Site {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) web: Web,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |builder| builder)
    }

    pub(crate) fn with(name: &str, set: impl FnOnce(Builder) -> Builder) -> Self {
        Self::over(Context::open(&format!("memory:web-{name}")).unwrap(), set)
    }

    /// A dashboard of what others have registered.
    pub(crate) fn over(context: Context, set: impl FnOnce(Builder) -> Builder) -> Self {
        let registry = context.registry().clone();
        Self { registry, web: set(Web::builder(context)).build() }
    }

    pub(crate) async fn announce(&self, service: &Service) {
        self.registry.announce(service, Duration::ZERO).await.unwrap();
    }

    /// Asks for `path` as a browser on this machine does.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Response {
        request.headers_mut().entry(header::HOST).or_insert("localhost:8082".parse().unwrap());
        self.web.router().oneshot(request).await.unwrap()
    }

    /// Posts a form as the dashboard's own page does.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Response {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, "http://localhost:8082");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// Asks for `path` until its answer says `what`.
    pub(crate) async fn until(&self, path: &str, what: &str) -> String {
        for _ in 0..500 {
            let text = text(self.get(path).await).await;
            if text.contains(what) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} never says {what:?}");
    }
}

pub(crate) async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The first event of a stream, as its data.
pub(crate) async fn event(response: &mut Response) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}
