//! Async functions as methods.

use std::{fmt, future::Future, marker::PhantomData, sync::Arc};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, future::BoxFuture, stream::once};
use http::{HeaderMap, Request};
use tonic::Status;

use super::{
    grpc::Messages,
    handled::{streaming, unary},
    requests::Requests,
};
use crate::{
    codec::{Any, Codec, Json, Or, Protobuf},
    fault::Fault,
    gomicro::detect::Era,
};

/// What a method is called with.
pub struct Incoming {
    pub(super) headers: HeaderMap,
    pub(super) format: String,
    pub(super) messages: Messages,
    /// Which version of go-micro calls; `None` for gRPC.
    pub(super) era: Option<Era>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("format", &self.format).finish_non_exhaustive()
    }
}

/// A method, without its types.
pub(super) type Method = Arc<dyn Fn(Incoming) -> BoxFuture<'static, Result<Messages, Status>> + Send + Sync>;

/// An async function from a request to `Result<response, error>`: what [`Router::route`](super::Router::route)
/// takes.
///
/// Types of serde are spoken in JSON, messages of prost in protobuf. A type that is both has to say which,
/// by [`both`] or [`with`]. The argument is the request, or an [`http::Request`] around it where the handler
/// wants the caller's headers. The error is anything that a [`Fault`] can be made of: text, a
/// [`Status`], a fault.
pub trait Handler<M>: Clone + Send + Sync + 'static {
    /// Calls it once.
    fn call(&self, incoming: Incoming) -> BoxFuture<'static, Result<Bytes, Status>>;
}

/// The same for streams: from [`Requests`] to `Result<stream of results, error>`.
pub trait StreamHandler<M>: Clone + Send + Sync + 'static {
    /// Calls it once.
    fn call(&self, incoming: Incoming) -> BoxFuture<'static, Result<Messages, Status>>;
}

/// A handler whose formats are named.
pub struct With<C, F> {
    handler: F,
    codecs: PhantomData<fn() -> C>,
}

impl<C, F: Clone> Clone for With<C, F> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), codecs: PhantomData }
    }
}

impl<C, F> fmt::Debug for With<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "With<{}>", std::any::type_name::<C>())
    }
}

/// Speaks `C`: a [`Codec`](crate::codec::Codec), or one [`Or`] another.
pub fn with<C, F>(handler: F) -> With<C, F> {
    With { handler, codecs: PhantomData }
}

/// Speaks JSON and protobuf, for types that are of serde and of prost.
pub fn both<F>(handler: F) -> With<Or<Json, Protobuf>, F> {
    with(handler)
}

/// Takes and gives bytes, in whatever format they are.
pub fn raw<F>(handler: F) -> With<Any, F> {
    with(handler)
}

/// Marks a handler of a request alone.
#[derive(Debug)]
pub struct Plain<C, Q, A, E>(PhantomData<(C, Q, A, E)>);
/// Marks a handler of a request with its headers.
#[derive(Debug)]
pub struct Whole<C, Q, A, E>(PhantomData<(C, Q, A, E)>);

macro_rules! handlers {
    ($codecs:ty, $self:ident => $function:expr, $type:ty $(, $any:ident)?) => {
        impl<$($any,)? F, R, Q, A, E> Handler<Plain<$codecs, Q, A, E>> for $type
        where
            $codecs: Codec<Q> + Codec<A>,
            F: Fn(Q) -> R + Clone + Send + Sync + 'static,
            R: Future<Output = Result<A, E>> + Send + 'static,
            Q: Send + 'static,
            A: Send + 'static,
            E: Into<Fault> + 'static,
        {
            fn call(&self, incoming: Incoming) -> BoxFuture<'static, Result<Bytes, Status>> {
                let $self = self;
                let function = $function.clone();
                Box::pin(unary::<$codecs, Q, A, E, R>(incoming, move |_, request| function(request)))
            }
        }

        impl<$($any,)? F, R, Q, A, E> Handler<Whole<$codecs, Q, A, E>> for $type
        where
            $codecs: Codec<Q> + Codec<A>,
            F: Fn(Request<Q>) -> R + Clone + Send + Sync + 'static,
            R: Future<Output = Result<A, E>> + Send + 'static,
            Q: Send + 'static,
            A: Send + 'static,
            E: Into<Fault> + 'static,
        {
            fn call(&self, incoming: Incoming) -> BoxFuture<'static, Result<Bytes, Status>> {
                let $self = self;
                let function = $function.clone();
                Box::pin(unary::<$codecs, Q, A, E, R>(incoming, move |headers, request| {
                    let mut request = Request::new(request);
                    *request.headers_mut() = headers;
                    function(request)
                }))
            }
        }

        impl<$($any,)? F, R, S, Q, A, E> StreamHandler<Plain<$codecs, Q, A, E>> for $type
        where
            $codecs: Codec<Q> + Codec<A>,
            F: Fn(Requests<Q>) -> R + Clone + Send + Sync + 'static,
            R: Future<Output = Result<S, E>> + Send + 'static,
            S: Stream<Item = Result<A, E>> + Send + 'static,
            Q: Send + 'static,
            A: Send + 'static,
            E: Into<Fault> + 'static,
        {
            fn call(&self, incoming: Incoming) -> BoxFuture<'static, Result<Messages, Status>> {
                let $self = self;
                let function = $function.clone();
                Box::pin(streaming::<$codecs, Q, A, E, R, S>(incoming, function))
            }
        }
    };
}

handlers!(Json, this => this, F);
handlers!(Protobuf, this => this, F);
handlers!(C, this => this.handler, With<C, F>, C);

/// A method of a handler that answers once.
pub(super) fn method<M>(handler: impl Handler<M>) -> Method {
    Arc::new(move |incoming| {
        let answer = handler.call(incoming);
        Box::pin(async move { answer.await.map(|answer| once(async { Ok(answer) }).boxed()) })
    })
}

/// A method of a handler of streams.
pub(super) fn stream_method<M>(handler: impl StreamHandler<M>) -> Method {
    Arc::new(move |incoming| handler.call(incoming))
}
