//! The signals that tell a program to stop.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::command::{Failure, Kind};

/// For how long a signal is the one before, said again: `timeout` of coreutils tells a program, and then its group.
const ECHO: Duration = Duration::from_millis(100);

/// Ends with the first SIGINT or SIGTERM from now on. A second one ends the process at once.
pub(super) fn stop() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let first = word()?;
    Ok(async move {
        first.await;
        tokio::spawn(async {
            sleep(ECHO).await;
            // It was listened to before.
            if let Ok(second) = word() {
                std::process::exit(second.await.into());
            }
        });
    })
}

/// The exit code of what SIGTERM ended.
pub(super) const TERMINATED: u8 = 143;

/// Ends with the first SIGINT or SIGTERM from now on, and gives the exit code of what that ends.
pub(super) fn word() -> Result<impl Future<Output = u8> + Send + 'static, Failure> {
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => TERMINATED,
        }
    })
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Kind::Other, "cannot listen to signals").source(error))
}
