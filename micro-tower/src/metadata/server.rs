//! Takes from incoming requests what is to travel on.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tonic::server::NamedService;
use tower_layer::Layer;
use tower_service::Service;

use super::{CURRENT, Metadata, NotCarried, REQUEST_ID, stays};

/// A request id that is longer is replaced.
const LONGEST_ID: usize = 128;

/// Wraps servers in [`ServerMetadata`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerMetadataLayer {
    names: Arc<[HeaderName]>,
}

impl Default for ServerMetadataLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerMetadataLayer {
    /// Carries the request id, and nothing else.
    pub fn new() -> Self {
        Self { names: Arc::new([REQUEST_ID]) }
    }

    /// Carries the request id and the headers in `names`.
    ///
    /// # Errors
    ///
    /// [`NotCarried`] for a header that belongs to one connection, as `te`, or one message, as `content-type`.
    pub fn carrying(names: impl IntoIterator<Item = HeaderName>) -> Result<Self, NotCarried> {
        let mut all = vec![REQUEST_ID];
        for name in names {
            if stays(&name) {
                return Err(NotCarried(name));
            }
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Ok(Self { names: all.into() })
    }
}

impl<S> Layer<S> for ServerMetadataLayer {
    type Service = ServerMetadata<S>;

    fn layer(&self, inner: S) -> ServerMetadata<S> {
        ServerMetadata { inner, names: self.names.clone() }
    }
}

/// Handles each request with its headers as the current [`Metadata`].
///
/// A request without an id gets one. The handler finds the metadata in the request's extensions too; the
/// response says the id.
#[derive(Clone, Debug)]
pub struct ServerMetadata<S> {
    inner: S,
    names: Arc<[HeaderName]>,
}

impl<S: NamedService> NamedService for ServerMetadata<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, C> Service<Request<B>> for ServerMetadata<S>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<MetadataBody<C>>;
    type Error = S::Error;
    type Future = ServerMetadataFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = request.headers().get(REQUEST_ID);
        if !id.is_some_and(|id| (1..=LONGEST_ID).contains(&id.len()) && id.to_str().is_ok()) {
            request.headers_mut().insert(REQUEST_ID, new_id());
        }
        let metadata = Metadata::take(&self.names, request.headers());
        request.extensions_mut().insert(metadata.clone());
        let inner = CURRENT.sync_scope(metadata.clone(), || self.inner.call(request));
        ServerMetadataFuture { inner, metadata }
    }
}

/// 128 random bits.
fn new_id() -> HeaderValue {
    let text = format!("{:032x}", fastrand::u128(..));
    HeaderValue::try_from(text).expect("hexadecimal digits are a header value")
}

/// Response of [`ServerMetadata`].
#[pin_project]
#[derive(Debug)]
pub struct ServerMetadataFuture<F> {
    #[pin]
    inner: F,
    metadata: Metadata,
}

impl<F, C, E> Future for ServerMetadataFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<MetadataBody<C>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let mut response = ready!(CURRENT.sync_scope(this.metadata.clone(), || inner.poll(cx)))?;
        if let Some(id) = this.metadata.get(&REQUEST_ID) {
            response.headers_mut().entry(REQUEST_ID).or_insert_with(|| id.clone());
        }
        let metadata = this.metadata.clone();
        Poll::Ready(Ok(response.map(|inner| MetadataBody { inner, metadata })))
    }
}

/// The body of a response, produced with the request's metadata.
#[pin_project]
#[derive(Debug, Default)]
pub struct MetadataBody<B> {
    #[pin]
    inner: B,
    metadata: Metadata,
}

impl<B: Body> Body for MetadataBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let inner = this.inner;
        CURRENT.sync_scope(this.metadata.clone(), || inner.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
