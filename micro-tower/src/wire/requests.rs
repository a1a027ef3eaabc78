//! What a stream of calls by name asks.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::HeaderMap;
use tonic::Status;

use super::grpc::Messages;
use crate::fault::Fault;

/// The messages of a caller: those that come, and then the end or one error.
pub struct Requests<T> {
    pub(super) messages: Messages,
    pub(super) decode: Box<dyn Fn(Bytes) -> Result<T, Status> + Send>,
    pub(super) headers: HeaderMap,
}

impl<T> Requests<T> {
    /// The caller's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl<T> Stream for Requests<T> {
    type Item = Result<T, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(message) = ready!(self.messages.poll_next_unpin(cx)) else { return Poll::Ready(None) };
        let value = message.and_then(|message| (self.decode)(message));
        Poll::Ready(Some(value.map_err(Fault::from)))
    }
}

impl<T> fmt::Debug for Requests<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("headers", &self.headers).finish_non_exhaustive()
    }
}
