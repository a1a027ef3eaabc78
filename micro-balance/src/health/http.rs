//! Asks for a page.

use std::{fmt, marker::PhantomData, ops::RangeInclusive, pin::pin};

use futures_util::future::{BoxFuture, poll_fn};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use tower::BoxError;
use tower_service::Service;

use super::check::Check;

/// How much of an answer is read, so that its connection can be used again.
const READ: usize = 64 << 10;

/// Asks for a page by `GET`; the endpoint is well if the status is as expected, 200 unless given.
///
/// `B` is the body of the service's requests, which is found out from where the check is used.
pub struct HttpCheck<B> {
    path: Uri,
    headers: HeaderMap,
    expected: Vec<RangeInclusive<u16>>,
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

    fn is_expected(&self, status: StatusCode) -> bool {
        self.expected.iter().any(|range| range.contains(&status.as_u16()))
    }
}

impl<B> Clone for HttpCheck<B> {
    fn clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            headers: self.headers.clone(),
            expected: self.expected.clone(),
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
    fn ask(&self, mut service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        let mut request = Request::new(B::default());
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let check = self.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            let status = response.status();
            drain(response.into_body()).await;
            if check.is_expected(status) {
                Ok(())
            } else {
                Err(format!("GET {} is {status}", check.path).into())
            }
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
