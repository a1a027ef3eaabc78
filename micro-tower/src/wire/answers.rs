//! What a stream of calls by name answers.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::{StreamExt as _, stream::BoxStream};

use super::client::ID;
use crate::fault::Fault;

/// The answers of a stream: those that come, and then the end or one fault.
pub struct Answers<T>(pub(super) BoxStream<'static, Result<T, Fault>>);

impl<T> Answers<T> {
    /// The only answer, of a method whose caller alone streams.
    ///
    /// # Errors
    ///
    /// The fault that the method ends with, or that there is not one answer.
    pub async fn only(mut self) -> Result<T, Fault> {
        let answer =
            self.next().await.ok_or_else(|| Fault::internal(ID, "the method ended without an answer"))??;
        match self.next().await {
            None => Ok(answer),
            Some(Err(fault)) => Err(fault),
            Some(Ok(_)) => Err(Fault::internal(ID, "the method answers more than once")),
        }
    }
}

impl<T> Stream for Answers<T> {
    type Item = Result<T, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl<T> fmt::Debug for Answers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}
