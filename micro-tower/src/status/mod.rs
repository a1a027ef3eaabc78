//! Errors in the words of gRPC and HTTP.
//!
//! | layer | goes |
//! |---|---|
//! | [`GrpcErrorsLayer`] | around a client: generated ones take errors as statuses |
//! | [`AnswerErrorsLayer`] | around a server: its callers get an answer where a limit or a timeout inside has none |

mod answer;
mod foreign;

use std::{
    error::Error as StdError,
    future::Future,
    iter::successors,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use micro_balance::{NotSent, classify::is_grpc, timeout::Elapsed};
use pin_project::pin_project;
use tonic::{Code, Status};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

pub use self::answer::{AnswerBody, AnswerErrors, AnswerErrorsLayer, AnswerFuture};
use crate::{deadline::Expired, error::Error};

/// What gRPC calls `error`: a [`Status`] in its chain as it is, or else the code that fits and all its
/// messages on one line. `error` becomes the source.
///
/// ```
/// use micro_tower::{Error, Phase, status};
///
/// let error = Error::not_sent(Phase::Connect, "connection refused").endpoint("127.0.0.1:80");
/// assert_eq!(status::grpc(error.into()).code(), tonic::Code::Unavailable);
/// ```
pub fn grpc(error: BoxError) -> Status {
    let error = match error.downcast::<Status>() {
        Ok(status) => return *status,
        Err(error) => error,
    };
    let mut status = match chain(error.as_ref()).find_map(|cause| cause.downcast_ref::<Status>()) {
        Some(found) => found.clone(),
        None => Status::new(code(error.as_ref()), messages(error.as_ref())),
    };
    status.set_source(Arc::from(error));
    status
}

/// The HTTP status that a server answers with when it failed because of `error`: 504 when time ran out, 503
/// when nobody was there, 502 when somebody was and gave no answer, 500 for what is none of these.
pub fn http(error: &(dyn StdError + 'static)) -> StatusCode {
    match code(error) {
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable if NotSent::is(error) => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unavailable => StatusCode::BAD_GATEWAY,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        grpc(error.into())
    }
}

/// What says `status` behind a response's messages.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Its text is no header, whatever it is.
        trailers.insert("grpc-status", HeaderValue::from_static("13"));
    }
    trailers
}

fn code(error: &(dyn StdError + 'static)) -> Code {
    let timed_out = |e: &&(dyn StdError + 'static)| e.is::<Expired>() || e.is::<Elapsed>();
    if chain(error).any(|e| timed_out(&e)) {
        return Code::DeadlineExceeded;
    }
    if let Some(status) = chain(error).find_map(|e| e.downcast_ref::<Status>()) {
        return status.code();
    }
    if NotSent::is(error) {
        return Code::Unavailable;
    }
    if let Some(h2) = chain(error).find_map(|e| e.downcast_ref::<h2::Error>()) {
        return h2.reason().map_or(Code::Unavailable, reason);
    }
    let io =
        |e: &(dyn StdError + 'static)| e.is::<std::io::Error>() || e.is::<Error>() || e.is::<hyper::Error>();
    if chain(error).any(io) { Code::Unavailable } else { Code::Unknown }
}

/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors>
fn reason(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// All messages of the chain, each once: wrappers often repeat what they wrap.
fn messages(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for message in chain(error).map(ToString::to_string) {
        if !text.contains(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
    }
    text
}

/// Wraps services in [`GrpcErrors`].
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcErrorsLayer;

impl<S> Layer<S> for GrpcErrorsLayer {
    type Service = GrpcErrors<S>;

    fn layer(&self, inner: S) -> GrpcErrors<S> {
        GrpcErrors { inner }
    }
}

/// Makes every error of a gRPC call a [`Status`], in the head as in the body, as generated clients expect, and what a
/// server or a proxy answers that speaks no gRPC. Errors of other requests stay what they are.
#[derive(Clone, Copy, Debug)]
pub struct GrpcErrors<S> {
    inner: S,
}

impl<S, B, C> Service<Request<B>> for GrpcErrors<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<GrpcErrorsBody<C>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        ResponseFuture { inner: self.inner.call(request), grpc }
    }
}

/// Response of [`GrpcErrors`].
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    grpc: bool,
}

impl<F, C, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<GrpcErrorsBody<C>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let grpc = *this.grpc;
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(response) if grpc && foreign::is_foreign(&response) => Err(foreign::status(&response).into()),
            Ok(response) => Ok(response.map(|inner| GrpcErrorsBody { inner, grpc })),
            Err(error) => Err(named(error.into(), grpc)),
        })
    }
}

/// The body of a response of [`GrpcErrors`].
#[pin_project]
#[derive(Debug, Default)]
pub struct GrpcErrorsBody<C> {
    #[pin]
    inner: C,
    grpc: bool,
}

impl<C> Body for GrpcErrorsBody<C>
where
    C: Body,
    C::Error: Into<BoxError>,
{
    type Data = C::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, BoxError>>> {
        let this = self.project();
        let grpc = *this.grpc;
        this.inner.poll_frame(cx).map(|frame| Some(frame?.map_err(|error| named(error.into(), grpc))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn named(error: BoxError, as_grpc: bool) -> BoxError {
    if as_grpc { grpc(error).into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;

    #[test]
    fn each_error_has_its_code() {
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let h2 = |reason: Reason| h2::Error::from(reason);
        let cases: [(BoxError, Code, u16); 9] = [
            (Expired::before_sending().into(), Code::DeadlineExceeded, 504),
            (NotSent::new(Expired::before_sending()).into(), Code::DeadlineExceeded, 504),
            (Error::not_sent(Phase::Connect, io()).into(), Code::Unavailable, 503),
            (Error::new(Phase::Wait, io()).into(), Code::Unavailable, 502),
            (Error::new(Phase::Wait, h2(Reason::CANCEL)).into(), Code::Cancelled, 500),
            (Error::new(Phase::Wait, h2(Reason::ENHANCE_YOUR_CALM)).into(), Code::ResourceExhausted, 429),
            (Error::new(Phase::Wait, h2(Reason::PROTOCOL_ERROR)).into(), Code::Internal, 500),
            (Error::new(Phase::Read, Status::aborted("busy")).into(), Code::Aborted, 500),
            ("a mistake".into(), Code::Unknown, 500),
        ];
        for (error, code, number) in cases {
            assert_eq!(http(error.as_ref()).as_u16(), number, "{error:?}");
            assert_eq!(grpc(error).code(), code);
        }
    }

    #[test]
    fn a_status_says_everything_once() {
        let error = Error::not_sent(Phase::Connect, "connection refused").service("greeter");
        let status = Status::from(error);
        assert_eq!(
            status.message(),
            "greeter could not be connected to: is it running, and listening on that address?: \
             the request was not sent: connection refused"
        );
        assert!(NotSent::is(StdError::source(&status).unwrap()));
    }
}
