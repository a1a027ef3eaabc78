//! Sessions: a cookie tells which endpoint a client was served by, so that it comes back there.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, Response, header};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::sent_to::SentTo;

/// Sets a cookie that [`Source::Cookie`](crate::policy::Source::Cookie) of a balancer below reads: the
/// client's next requests go to the same endpoint while it is there.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::session::SessionLayer;
///
/// let sessions = SessionLayer::new("session").max_age(Duration::from_secs(3_600));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionLayer {
    name: String,
    max_age: Option<Duration>,
}

impl SessionLayer {
    /// By a cookie of this name, for as long as the browser is open.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), max_age: None }
    }

    /// By a cookie that is kept for so long, in whole seconds.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = Session<S>;

    fn layer(&self, inner: S) -> Session<S> {
        Session { inner, cookie: self.clone() }
    }
}

/// Tells clients by a cookie which endpoint served them.
#[derive(Clone, Debug)]
pub struct Session<S> {
    inner: S,
    cookie: SessionLayer,
}

impl<S, B, C> Service<Request<B>> for Session<S>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let cookies = request.headers().get_all(header::COOKIE).iter();
        let had = cookies.filter_map(|value| value.to_str().ok()).map(|text| format!("{text};")).collect();
        // The caller may want to know as well.
        let sent_to = request.extensions_mut().get_or_insert_default::<SentTo>().clone();
        ResponseFuture { inner: self.inner.call(request), sent_to, cookie: self.cookie.clone(), had }
    }
}

/// Response of [`Session`].
#[pin_project]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    sent_to: SentTo,
    cookie: SessionLayer,
    /// The cookies that the request came with.
    had: String,
}

impl<F, C, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<C>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(id) = this.sent_to.id() {
            let pair = format!("{}={}", this.cookie.name, BASE64_STANDARD.encode(id.as_bytes()));
            if !this.had.split(';').any(|had| had.trim() == pair)
                && let Ok(cookie) = set_cookie(pair, this.cookie.max_age)
            {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        Poll::Ready(Ok(response))
    }
}

fn set_cookie(pair: String, max_age: Option<Duration>) -> Result<HeaderValue, header::InvalidHeaderValue> {
    let age = max_age.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
    HeaderValue::try_from(pair + "; Path=/; HttpOnly; SameSite=Lax" + &age)
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
