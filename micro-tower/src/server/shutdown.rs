//! Words to stop: signals, or whatever a caller waits for.

use std::{future::Future, io};

use futures_util::stream::{BoxStream, StreamExt as _, once, pending, unfold};

/// Each item is a word to stop: the first to do so in good order, the second at once.
pub(super) type Words = BoxStream<'static, ()>;

/// SIGTERM and SIGINT, or Ctrl-C.
#[cfg(unix)]
pub(super) fn signals() -> io::Result<Words> {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let next =
        |(mut terminate, mut interrupt): (tokio::signal::unix::Signal, tokio::signal::unix::Signal)| async {
            tokio::select! {
                Some(()) = terminate.recv() => {}
                Some(()) = interrupt.recv() => {}
                else => return None,
            }
            Some(((), (terminate, interrupt)))
        };
    Ok(unfold(heard, next).boxed())
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(super) fn signals() -> io::Result<Words> {
    let next = |()| async { tokio::signal::ctrl_c().await.ok().map(|()| ((), ())) };
    Ok(unfold((), next).boxed())
}

/// One word, when `future` ends.
pub(super) fn when(future: impl Future<Output = ()> + Send + 'static) -> Words {
    once(future).chain(pending()).boxed()
}
