//! Typed events: a codec between a value and a body, and a layer that decodes before the handler.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tower::{BoxError, Layer, Service};

use crate::error::Reject;
use crate::event::Event;

/// How values of `T` are written as the body of an event.
pub trait Codec<T> {
    /// What the header `content-type` says.
    const CONTENT_TYPE: &'static str;

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// When the codec cannot express it.
    fn encode(value: &T) -> Result<Bytes, BoxError>;

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// When the body is no such value.
    fn decode(body: &Bytes) -> Result<T, BoxError>;
}

/// JSON, of whatever serde can write and read.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug)]
pub struct Json;

#[cfg(feature = "json")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for Json {
    const CONTENT_TYPE: &'static str = "application/json";

    fn encode(value: &T) -> Result<Bytes, BoxError> {
        Ok(serde_json::to_vec(value)?.into())
    }

    fn decode(body: &Bytes) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(body)?)
    }
}

/// Protocol buffers, of messages that prost generates.
#[cfg(feature = "protobuf")]
#[derive(Clone, Copy, Debug)]
pub struct Protobuf;

#[cfg(feature = "protobuf")]
impl<T: prost::Message + Default> Codec<T> for Protobuf {
    const CONTENT_TYPE: &'static str = "application/protobuf";

    fn encode(value: &T) -> Result<Bytes, BoxError> {
        Ok(value.encode_to_vec().into())
    }

    fn decode(body: &Bytes) -> Result<T, BoxError> {
        Ok(T::decode(body.clone())?)
    }
}

impl Event {
    /// An event whose body is `value`, and whose content type says how it is written.
    ///
    /// # Errors
    ///
    /// When the codec cannot express the value.
    pub fn encode<C: Codec<T>, T>(topic: impl Into<Arc<str>>, value: &T) -> Result<Self, BoxError> {
        let content_type = HeaderValue::from_static(C::CONTENT_TYPE);
        Ok(Self::new(topic, C::encode(value)?).header(CONTENT_TYPE, content_type))
    }

    /// The value in the body.
    ///
    /// # Errors
    ///
    /// When the body is no such value: [`Reject`], for it will not be one next time either.
    pub fn decode<C: Codec<T>, T>(&self) -> Result<T, Reject> {
        C::decode(&self.body).map_err(Reject::new)
    }
}

/// An event and the value in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Typed<T> {
    /// What the body says.
    pub value: T,
    /// The event it came in.
    pub event: Event,
}

/// Lets services of [`Typed`] values handle events: `DecodeLayer::<Json, Order>::new()`.
pub struct DecodeLayer<C, T> {
    types: PhantomData<fn() -> (C, T)>,
}

impl<C: Codec<T>, T> DecodeLayer<C, T> {
    /// Decodes by `C`; an event that cannot be decoded is [rejected](Reject).
    pub fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<C: Codec<T>, T> Default for DecodeLayer<C, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, T> Clone for DecodeLayer<C, T> {
    fn clone(&self) -> Self {
        Self { types: PhantomData }
    }
}

impl<C, T> fmt::Debug for DecodeLayer<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecodeLayer")
    }
}

impl<S, C: Codec<T>, T> Layer<S> for DecodeLayer<C, T> {
    type Service = Decode<S, C, T>;

    fn layer(&self, inner: S) -> Decode<S, C, T> {
        Decode { inner, types: PhantomData }
    }
}

/// Decodes events for a service of [`Typed`] values.
pub struct Decode<S, C, T> {
    inner: S,
    types: PhantomData<fn() -> (C, T)>,
}

impl<S: Clone, C, T> Clone for Decode<S, C, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), types: PhantomData }
    }
}

impl<S: fmt::Debug, C, T> fmt::Debug for Decode<S, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decode").field("inner", &self.inner).finish()
    }
}

impl<S, C, T> Service<Event> for Decode<S, C, T>
where
    S: Service<Typed<T>>,
    S::Error: Into<BoxError>,
    C: Codec<T>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<Erased<S::Future>, std::future::Ready<Result<S::Response, BoxError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, event: Event) -> Self::Future {
        match event.decode::<C, T>() {
            Ok(value) => Either::Left(Erased { inner: Box::pin(self.inner.call(Typed { value, event })) }),
            Err(reject) => Either::Right(std::future::ready(Err(reject.into()))),
        }
    }
}

/// The handler's answer, with its error boxed.
#[derive(Debug)]
pub struct Erased<F> {
    inner: Pin<Box<F>>,
}

impl<F, R, E> Future for Erased<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx).map_err(Into::into)
    }
}
