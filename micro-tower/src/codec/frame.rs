//! gRPC's frames: a flag, four bytes of length, a message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{
    StreamExt as _,
    stream::{BoxStream, once, unfold},
};
use http::{HeaderMap, Response};
use http_body::Body;
use tonic::{Code, Status};
use tower::BoxError;

use super::compress::{compress, decompress};
use crate::fault::Fault;

const HEAD: usize = 5;

/// One message, as it is.
pub fn encode(message: &[u8]) -> Bytes {
    framed(0, message)
}

/// One message, in gzip.
pub fn encode_compressed(message: &[u8]) -> Bytes {
    framed(1, &compress(message))
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + message.len());
    frame.put_u8(flag);
    // A message comes from a buffer with a bound far below this.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// Takes one whole message off the front of `buffer`; `None` while it is not all there.
///
/// # Errors
///
/// A message longer than `limit`, compressed or not, an unknown flag, or what is no gzip.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, Status> {
    let [flag, a, b, c, d, ..] = buffer[..] else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > limit {
        let text = format!("a message of {length} bytes is longer than the limit of {limit}");
        return Err(Status::resource_exhausted(text));
    }
    if flag > 1 {
        return Err(Status::internal(format!("a message begins with {flag}, neither 0 nor 1")));
    }
    if buffer.len() < HEAD + length {
        return Ok(None);
    }
    buffer.advance(HEAD);
    let message = buffer.split_to(length).freeze();
    if flag == 0 {
        return Ok(Some(message));
    }
    let plain = decompress(&message, limit);
    plain.map(Some).map_err(|error| Status::resource_exhausted(format!("a message is refused: {error}")))
}

/// The messages of a body.
#[derive(Debug)]
pub struct Frames<B> {
    body: Option<B>,
    buffer: BytesMut,
    limit: usize,
    trailers: Option<HeaderMap>,
}

impl<B> Frames<B> {
    /// Reads messages of `limit` bytes at most from `body`.
    pub fn new(body: B, limit: usize) -> Self {
        Self { body: Some(body), buffer: BytesMut::new(), limit, trailers: None }
    }

    /// What came behind the last message, once that has been read.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
}

impl<B> Stream for Frames<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match decode(&mut this.buffer, this.limit) {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(status) => {
                    this.body = None;
                    this.buffer.clear();
                    return Poll::Ready(Some(Err(status)));
                }
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.buffer.extend_from_slice(&data),
                    Err(frame) => this.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    this.body = None;
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                None => {
                    this.body = None;
                    if !this.buffer.is_empty() {
                        this.buffer.clear();
                        return Poll::Ready(Some(Err(Status::internal("a message breaks off"))));
                    }
                }
            }
        }
    }
}

/// The messages of a response, and its status behind them unless that is OK.
pub(crate) fn answers<B>(response: Response<B>, limit: usize) -> BoxStream<'static, Result<Bytes, Status>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (head, body) = response.into_parts();
    let refused = match Status::from_header_map(&head.headers) {
        None if !head.status.is_success() => {
            Some(Fault::from_http(head.status, "the server answered by HTTP").into())
        }
        status => status.filter(|status| status.code() != Code::Ok),
    };
    if let Some(status) = refused {
        return once(async { Err(status) }).boxed();
    }
    let next = |frames: Option<Frames<B>>| async {
        let mut frames = frames?;
        match frames.next().await {
            Some(message) => {
                let more = message.is_ok().then_some(frames);
                Some((message, more))
            }
            None => {
                let status = frames.trailers().and_then(Status::from_header_map)?;
                (status.code() != Code::Ok).then(|| (Err(status), None))
            }
        }
    };
    unfold(Some(Frames::new(body, limit)), next).boxed()
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn messages_come_out_as_they_went_in() {
        let body = [encode(b"one"), encode_compressed(b"two"), encode(b"")].concat();
        let frames = Frames::new(Full::new(Bytes::from(body)), 100);
        let messages: Vec<_> = frames.map(Result::unwrap).collect().await;
        assert_eq!(messages, [&b"one"[..], b"two", b""]);
    }

    #[tokio::test]
    async fn what_is_too_long_broken_off_or_no_frame_is_refused_once() {
        for bytes in
            [&b"\0\0\0\0\x65"[..], b"\0\0\0\0\x05abc", b"\x02\0\0\0\0", b"\x01\0\0\0\x03abc", b"\0\0"]
        {
            let mut frames = Frames::new(Full::new(Bytes::from_static(bytes)), 100);
            frames.next().await.unwrap().unwrap_err();
            assert!(frames.next().await.is_none());
        }
    }
}
