//! What is done to real processes, a file for each kind of trouble.

pub(crate) mod clock;
pub(crate) mod death;
pub(crate) mod discovery;
pub(crate) mod network;
pub(crate) mod overload;
pub(crate) mod refusal;
pub(crate) mod slow;

use std::time::Duration;

use tokio::time::sleep;

/// How long a scenario goes on as it was before anything happens.
const CALM: Duration = Duration::from_secs(2);

/// Nothing happens.
async fn nothing() -> anyhow::Result<()> {
    Ok(())
}

/// Waits until the trouble begins.
async fn calm() {
    sleep(CALM).await;
}
