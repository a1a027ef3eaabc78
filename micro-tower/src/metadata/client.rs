//! Puts the current request's headers on the calls made for it.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::CURRENT;

/// Wraps clients in [`ClientMetadata`].
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataLayer;

impl<S> Layer<S> for MetadataLayer {
    type Service = ClientMetadata<S>;

    fn layer(&self, inner: S) -> ClientMetadata<S> {
        ClientMetadata { inner }
    }
}

/// Adds what [`Metadata::current`](super::Metadata::current) holds to every request, except headers that the
/// caller has set.
#[derive(Clone, Copy, Debug)]
pub struct ClientMetadata<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for ClientMetadata<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        // Fails outside of a request, where there is nothing to add.
        let _ = CURRENT.try_with(|metadata| metadata.put(request.headers_mut()));
        self.inner.call(request)
    }
}
