//! Trailing metadata of responses, which tonic has no word for where a call succeeds.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// Trailing metadata for a response that succeeds. Put a clone into the response's extensions, and a
/// [`Server`](crate::Server) sends them behind the body, beside `grpc-status`.
///
/// Clones share one set, and it is read when the body ends: a stream may add to it up to its last message.
///
/// ```
/// use micro_tower::metadata::Trailers;
///
/// let trailers = Trailers::new();
/// let mut response = tonic::Response::new(());
/// response.extensions_mut().insert(trailers.clone());
/// trailers.append(http::HeaderName::from_static("x-rows"), http::HeaderValue::from(7));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<Mutex<HeaderMap>>);

impl Trailers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. What gRPC itself says, such as `grpc-status`, stays as it is.
    pub fn append(&self, name: HeaderName, value: HeaderValue) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(name, value);
    }

    /// Moves them into `headers`, behind what is there already.
    fn give(&self, headers: &mut HeaderMap) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in headers.keys() {
            own.remove(name);
        }
        headers.extend(own.drain());
    }
}

/// A body that ends with [`Trailers`] too.
#[pin_project]
#[derive(Debug)]
pub(crate) struct TrailersBody<B> {
    #[pin]
    inner: B,
    trailers: Trailers,
}

impl<B> TrailersBody<B> {
    pub(crate) fn new(inner: B, trailers: Trailers) -> Self {
        Self { inner, trailers }
    }
}

impl<B: Body> Body for TrailersBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut frame = ready!(this.inner.poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(headers) = frame.trailers_mut()
        {
            this.trailers.give(headers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test]
    async fn they_follow_what_the_body_ends_with_and_replace_none_of_it() {
        let trailers = Trailers::new();
        let status = HeaderName::from_static("grpc-status");
        let end = HeaderMap::from_iter([(status.clone(), HeaderValue::from_static("0"))]);
        let frames = [Frame::data(Bytes::from_static(b"x")), Frame::trailers(end)];
        let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
        let body = TrailersBody::new(body, trailers.clone());
        trailers.append(status.clone(), HeaderValue::from_static("13"));
        for value in ["a", "b"] {
            trailers.append(HeaderName::from_static("x-late"), HeaderValue::from_static(value));
        }
        let collected = body.collect().await.unwrap();
        let headers = collected.trailers().unwrap();
        assert_eq!(headers.get_all("x-late").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(headers.get_all(&status).iter().collect::<Vec<_>>(), ["0"]);
    }
}
