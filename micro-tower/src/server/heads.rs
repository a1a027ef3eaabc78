//! Answers 431 to requests of HTTP/2 whose headers are too long, and leaves the other requests on the connection alone.
//!
//! h2 answers so only up to four times what it is told to read, and ends the connection over more: a visitor with a jar
//! of cookies would end the requests of everybody whom a proxy in front of us sends over the same connection. So it is
//! told to read more than is taken.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use micro_balance::classify::is_grpc;
use pin_project::pin_project;
use tonic::{Status, body::Body};

/// What h2 reads of a request's headers: as much as clients can be made to send at all.
const READ: u32 = 64 << 10;

/// How long a list of headers h2 may read, where more than `most` is refused.
pub(super) fn readable(most: u32) -> u32 {
    most.max(READ)
}

/// The service of one connection, which gets no request with more headers than that.
#[derive(Debug)]
pub(super) struct Heads<S> {
    inner: S,
    most: usize,
}

impl<S> Heads<S> {
    pub(super) fn new(inner: S, most: u32) -> Self {
        Self { inner, most: most as usize }
    }
}

impl<S, B> hyper::service::Service<Request<B>> for Heads<S>
where
    S: hyper::service::Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = HeadsFuture<S::Future>;

    fn call(&self, request: Request<B>) -> Self::Future {
        if length(&request) > self.most {
            return HeadsFuture::TooLong { grpc: is_grpc(request.headers()), most: self.most };
        }
        HeadsFuture::Called(self.inner.call(request))
    }
}

/// As HTTP/2 counts: RFC 9113, section 6.5.2.
fn length<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>();
    fields + request.uri().path_and_query().map_or(0, |path| path.as_str().len())
}

/// Response of [`Heads`].
#[pin_project(project = Now)]
pub(super) enum HeadsFuture<F> {
    Called(#[pin] F),
    TooLong { grpc: bool, most: usize },
}

impl<F, E> Future for HeadsFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Now::Called(called) => called.poll(cx),
            Now::TooLong { grpc, most } => Poll::Ready(Ok(too_long(*grpc, *most))),
        }
    }
}

fn too_long(grpc: bool, most: usize) -> Response<Body> {
    let why = format!("the headers of the request are longer than {most} bytes");
    if grpc {
        return Status::resource_exhausted(why).into_http();
    }
    let mut response = Response::new(Body::new(why));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
