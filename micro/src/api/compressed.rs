//! A gateway whose answers are compressed, but for calls of gRPC, which compress their own messages: they are let past
//! instead of being asked.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk};
use http::{Request, Response, header};
use http_body::Body;
use http_body_util::Either as EitherBody;
use micro_balance::classify::is_grpc;
use tower::{Layer as _, Service};
use tower_http::compression::{Compression, CompressionBody};

use super::compress::{Compressible, compression};

/// Compresses the answers of a service as [`compression`] does, and leaves calls of gRPC to it alone.
#[derive(Clone)]
pub(crate) struct Compressed<S> {
    inner: S,
    compressed: Compression<S, Compressible>,
}

impl<S: Clone> Compressed<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { compressed: compression().layer(inner.clone()), inner }
    }
}

/// What is compressed is in a box: an answer is moved half a dozen times, and most are what they were.
type Answer<C> = Response<EitherBody<C, Pin<Box<CompressionBody<C>>>>>;
type Past<F, C> = MapOk<F, fn(Response<C>) -> Answer<C>>;
type Through<F, C> = MapOk<F, fn(Response<CompressionBody<C>>) -> Answer<C>>;

impl<S, B, C> Service<Request<B>> for Compressed<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    C: Body,
{
    type Response = Answer<C>;
    type Error = S::Error;
    type Future =
        Either<Past<S::Future, C>, Through<<Compression<S, Compressible> as Service<Request<B>>>::Future, C>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        self.compressed.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_grpc(request.headers()) {
            return Either::Left(self.inner.call(request).map_ok(past as fn(_) -> _));
        }
        Either::Right(self.compressed.call(request).map_ok(through as fn(_) -> _))
    }
}

fn past<C: Body>(answer: Response<C>) -> Answer<C> {
    answer.map(EitherBody::Left)
}

fn through<C: Body>(answer: Response<CompressionBody<C>>) -> Answer<C> {
    if answer.headers().contains_key(header::CONTENT_ENCODING) {
        answer.map(|body| EitherBody::Right(Box::pin(body)))
    } else {
        answer.map(|body| EitherBody::Left(body.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use http_body_util::{BodyExt as _, Full};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test]
    async fn all_is_compressed_but_calls() {
        let text = service_fn(|_: Request<()>| {
            let answer = Response::builder().header("content-type", "text/plain");
            ready(Ok::<_, Infallible>(answer.body(Full::new(bytes::Bytes::from(vec![b'x'; 4096]))).unwrap()))
        });
        for (kind, compressed) in [("application/json", true), ("application/grpc+json", false)] {
            let request = Request::builder().header("accept-encoding", "gzip").header("content-type", kind);
            let answer = Compressed::new(text).oneshot(request.body(()).unwrap()).await.unwrap();
            assert_eq!(answer.headers().contains_key("content-encoding"), compressed, "{kind}");
            let length = answer.into_body().collect().await.unwrap().to_bytes().len();
            assert_eq!(length < 4096, compressed, "{kind}: {length} bytes");
        }
    }
}
