//! gRPC requests and responses around messages.

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    stream::{BoxStream, once},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Status, body::Body};

use crate::{
    codec::frame::{self, Frames},
    status::trailers,
};

/// The longest message, as in tonic.
pub(super) const LONGEST: usize = 4 << 20;
/// Shorter messages gain nothing by compression.
const WORTH: usize = 1 << 10;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Messages, and what ended them.
pub(super) type Messages = BoxStream<'static, Result<Bytes, Status>>;

/// What a request's messages are written in: the part of the content type behind `application/grpc+`.
pub(super) fn format(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = value.split(';').next().unwrap_or_default().trim();
    value.split_once('+').map_or("proto", |(_, format)| format).to_ascii_lowercase()
}

/// The messages of a body.
pub(super) fn messages(body: Body) -> Messages {
    Frames::new(body, LONGEST).boxed()
}

/// Messages as a request's body.
pub(super) fn request_body(messages: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Body {
    let frames = messages.map(|message| message.map(|message| Frame::data(frame::encode(&message))));
    Body::new(StreamBody::new(frames))
}

/// Whether a caller reads gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    listed.split(',').any(|coding| coding.trim() == "gzip")
}

/// Says that we read gzip.
pub(super) fn offer_gzip<B>(request: &mut Request<B>) {
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("gzip,identity"));
}

/// A response of `messages` in `format`, with its status behind them.
pub(super) fn response(format: &str, gzip: bool, messages: Messages) -> Response<Body> {
    let write = move |message: Bytes| match gzip && message.len() >= WORTH {
        true => frame::encode_compressed(&message),
        false => frame::encode(&message),
    };
    let messages = messages.map(Some).chain(once(async { None }));
    // The first end counts: an error, or nothing more to say.
    let frames = messages.scan(false, move |ended, message| {
        let frame = match message {
            _ if *ended => None,
            Some(Ok(message)) => Some(Frame::data(write(message))),
            Some(Err(status)) => {
                *ended = true;
                Some(Frame::trailers(trailers(&status)))
            }
            None => {
                *ended = true;
                Some(Frame::trailers(trailers(&Status::ok(""))))
            }
        };
        std::future::ready(frame.map(Ok::<_, Status>))
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    let content_type = HeaderValue::try_from(format!("application/grpc+{format}"));
    let content_type = content_type.unwrap_or_else(|_| HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    if gzip {
        response.headers_mut().insert(ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A response that is only a status.
pub(super) fn refusal(status: Status) -> Response<Body> {
    status.into_http()
}
