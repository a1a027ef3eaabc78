//! What others wrote may panic: that is a failure of theirs, and takes no task of ours along.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use tower::BoxError;

/// The answer to `ask`; that asking or answering panics is an error about `who`.
pub(crate) async fn answer<T, F>(who: &'static str, ask: impl FnOnce() -> F) -> Result<T, BoxError>
where
    F: Future<Output = Result<T, BoxError>>,
{
    let answer = AssertUnwindSafe(async move { ask().await }).catch_unwind();
    answer.await.unwrap_or_else(|_| Err(panicked(who)))
}

/// These words; a panic is the last of them, and an error about `who`.
pub(crate) fn words<T: 'static>(
    who: &'static str,
    words: BoxStream<'static, Result<T, BoxError>>,
) -> BoxStream<'static, Result<T, BoxError>> {
    AssertUnwindSafe(words)
        .catch_unwind()
        .map(move |word| word.unwrap_or_else(|_| Err(panicked(who))))
        .boxed()
}

/// What `act` does at once; that it panics is an error about `who`.
pub(crate) fn at_once<T>(who: &'static str, act: impl FnOnce() -> T) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| panicked(who))
}

fn panicked(who: &str) -> BoxError {
    format!("{who} panicked").into()
}
