//! The signals that tell a program to stop.

use tokio::signal::unix::{SignalKind, signal};

use crate::command::{Failure, Kind};

/// Ends with the first SIGINT or SIGTERM from now on. A second one ends the process at once.
pub(super) fn stop() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let cannot = |error| Failure::new(Kind::Other, "cannot listen to signals").source(error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            std::process::exit(code);
        });
    })
}
