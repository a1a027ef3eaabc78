//! Asks for a page.

use std::{fmt, marker::PhantomData, ops::RangeInclusive, pin::pin};

use futures_util::future::{BoxFuture, poll_fn};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body::Body;
use tower::BoxError;
use tower_service::Service;

use super::check::{Check, DEGRADED};
use crate::condition::Condition;

/// How much of an answer is read, so that its connection can be used again.
const READ: usize = 64 << 10;

/// Asks for a page by `GET`; the endpoint is well if the status is as expected, 200 unless given. Another status is its own
/// word that it is not, which counts at once unless it is among the [`retriable`](Self::retriable). No answer counts as a
/// failure.
///
/// `B` is the body of the service's requests, which is found out from where the check is used.
pub struct HttpCheck<B> {
    path: Uri,
    headers: HeaderMap,
    expected: Vec<RangeInclusive<u16>>,
    retriable: Vec<RangeInclusive<u16>>,
    degraded: HeaderName,
    body: PhantomData<fn() -> B>,
}

impl<B> HttpCheck<B> {
    /// Asks for `path`, such as `/healthz`.
    ///
    /// # Errors
    ///
    /// When `path` is not the path of a URI.
    pub fn new(path: &str) -> Result<Self, http::uri::InvalidUri> {
        Ok(Self {
            path: path.parse()?,
            headers: HeaderMap::new(),
            expected: vec![200..=200],
            retriable: Vec::new(),
            degraded: DEGRADED,
            body: PhantomData,
        })
    }

    /// Sends this `Host`; the endpoint's own unless given.
    #[must_use]
    pub fn host(self, host: HeaderValue) -> Self {
        self.header(header::HOST, host)
    }

    /// Sends this header too.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Expects one of these statuses, in place of 200.
    #[must_use]
    pub fn expect(mut self, statuses: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        self.expected = statuses.into_iter().collect();
        self
    }

    /// Takes one of these statuses for a failure, of which it takes
    /// [several in a row](super::HealthCheck::unhealthy_threshold), and not for the endpoint's word.
    #[must_use]
    pub fn retriable(mut self, statuses: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        self.retriable = statuses.into_iter().collect();
        self
    }

    /// Takes an endpoint for [degraded](Condition::Degraded) whose answer has this header, in place of Envoy's
    /// `x-envoy-degraded`.
    #[must_use]
    pub fn degraded(mut self, header: HeaderName) -> Self {
        self.degraded = header;
        self
    }

    fn read<C>(&self, response: &Response<C>) -> Result<Condition, BoxError> {
        let status = response.status();
        let among =
            |ranges: &[RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&status.as_u16()));
        if among(&self.expected) {
            let degraded = response.headers().contains_key(&self.degraded);
            return Ok(if degraded { Condition::Degraded } else { Condition::Well });
        }
        if among(&self.retriable) {
            return Err(format!("GET {} is {status}", self.path).into());
        }
        tracing::debug!(path = %self.path, %status, "an endpoint says that it is not well");
        Ok(Condition::Unwell)
    }
}

impl<B> Clone for HttpCheck<B> {
    fn clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            headers: self.headers.clone(),
            expected: self.expected.clone(),
            retriable: self.retriable.clone(),
            degraded: self.degraded.clone(),
            body: PhantomData,
        }
    }
}

impl<S, B, C> Check<S> for HttpCheck<B>
where
    S: Service<Request<B>, Response = Response<C>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Default + Send + 'static,
    C: Body + Send + 'static,
    C::Data: Send,
{
    fn ask(&self, mut service: S) -> BoxFuture<'static, Result<Condition, BoxError>> {
        let mut request = Request::new(B::default());
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let check = self.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            let said = check.read(&response);
            drain(response.into_body()).await;
            said
        })
    }
}

/// Reads a body, which need not end well.
async fn drain<C: Body>(body: C) {
    let (mut body, mut read) = (pin!(body), 0);
    while read < READ {
        let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await else { return };
        read += frame.data_ref().map_or(1, |data| bytes::Buf::remaining(data).max(1));
    }
}

impl<B> fmt::Debug for HttpCheck<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use http_body::Frame;

    use super::*;

    /// Goes on for ever, by so much at a time, and counts how often it was asked.
    struct Endless<'a>(&'static [u8], &'a mut usize);

    impl Body for Endless<'_> {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            *self.1 += 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.0)))))
        }
    }

    #[test]
    fn the_header_that_says_degraded_is_the_one_that_is_wanted() {
        let mut answer = Response::new(());
        answer.headers_mut().insert("x-tired", HeaderValue::from_static("yes"));
        let usual = HttpCheck::<()>::new("/healthz").unwrap();
        assert_eq!(usual.read(&answer).unwrap(), Condition::Well);
        let tired = usual.degraded(HeaderName::from_static("x-tired"));
        assert_eq!(tired.read(&answer).unwrap(), Condition::Degraded);
        assert_eq!(tired.read(&Response::new(())).unwrap(), Condition::Well);
    }

    #[tokio::test]
    async fn of_an_answer_without_end_64_kib_are_read() {
        for (frame, frames) in [(&[0; 1024][..], 64), (&[], 64 << 10)] {
            let mut asked = 0;
            drain(Endless(frame, &mut asked)).await;
            assert_eq!(asked, frames);
        }
    }
}
