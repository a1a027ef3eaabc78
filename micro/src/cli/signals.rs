//! The signals that tell a program to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends with the first SIGINT or SIGTERM from now on. Neither ends the process by itself any more.
pub(super) fn stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
