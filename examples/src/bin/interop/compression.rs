//! Compression by message: who was sent compressed, and who is to be, which tonic decides by call only.

use std::{
    collections::VecDeque,
    io::Write as _,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use tonic::{body::Body, server::NamedService};
use tower::Service;

/// A flag for each message, in their order; clones share them.
#[derive(Clone, Debug, Default)]
struct Flags(Arc<Mutex<VecDeque<bool>>>);

impl Flags {
    fn push(&self, compressed: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(compressed);
    }

    fn pop(&self) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Which messages of a request came compressed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived(Flags);

impl Arrived {
    /// Those of the request with these extensions.
    pub(crate) fn of(extensions: &tonic::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether the next message was compressed.
    pub(crate) fn next(&self) -> Option<bool> {
        self.0.pop()
    }
}

/// Which messages of a response are to go compressed; to be put into its extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing(Flags);

impl Outgoing {
    /// Says it of the next message.
    pub(crate) fn next(&self, compressed: bool) {
        self.0.push(compressed);
    }
}

/// Wraps a tonic service that does not compress by itself.
#[derive(Clone, Debug)]
pub(crate) struct PerMessage<S> {
    inner: S,
}

impl<S> PerMessage<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: NamedService> NamedService for PerMessage<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for PerMessage<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let accepts = accepts_gzip(request.headers());
        let arrived = Arrived::default();
        let flags = arrived.0.clone();
        let mut request =
            request.map(|inner| Body::new(Noting { inner, messages: Messages::default(), flags }));
        request.extensions_mut().insert(arrived);
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            let Some(Outgoing(flags)) = response.extensions_mut().remove() else { return Ok(response) };
            if !accepts {
                return Ok(response);
            }
            response.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
            Ok(response.map(|inner| Body::new(Compressing { inner, messages: Messages::default(), flags })))
        })
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get("grpc-accept-encoding").and_then(|value| value.to_str().ok());
    accepted.is_some_and(|names| names.split(',').any(|name| name.trim() == "gzip"))
}

/// Cuts data into gRPC's messages: a flag, a length, and as many bytes.
#[derive(Debug, Default)]
struct Messages(BytesMut);

impl Messages {
    /// Whether the next message is compressed, and the message, once all of it is there.
    fn next(&mut self) -> Option<(bool, Bytes)> {
        let head = self.0.get(..5)?;
        let (flag, length) = (head[0], u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize);
        if self.0.len() < 5 + length {
            return None;
        }
        self.0.advance(5);
        Some((flag == 1, self.0.split_to(length).freeze()))
    }
}

/// The body of a request: notes each message's flag before it is read.
struct Noting {
    inner: Body,
    messages: Messages,
    flags: Flags,
}

impl http_body::Body for Noting {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.messages.0.extend_from_slice(data);
            while let Some((compressed, _)) = self.messages.next() {
                self.flags.push(compressed);
            }
        }
        Poll::Ready(frame)
    }
}

/// The body of a response: compresses the messages whose flag says so.
struct Compressing {
    inner: Body,
    messages: Messages,
    flags: Flags,
}

impl http_body::Body for Compressing {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)?) else { return Poll::Ready(None) };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        self.messages.0.extend_from_slice(&data);
        let mut out = BytesMut::new();
        while let Some((_, message)) = self.messages.next() {
            let compress = self.flags.pop().unwrap_or(false);
            let message = if compress { gzip(&message)? } else { message };
            out.put_u8(u8::from(compress));
            out.put_u32(message.len() as u32);
            out.extend_from_slice(&message);
        }
        Poll::Ready(Some(Ok(Frame::data(out.freeze()))))
    }
}

fn gzip(message: &[u8]) -> Result<Bytes, tonic::Status> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.map(Bytes::from).map_err(|error| tonic::Status::internal(format!("cannot compress: {error}")))
}
