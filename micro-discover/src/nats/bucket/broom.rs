//! Removes what is long over, while nobody waits for that: whoever may only read is not even told that it is refused.

use std::sync::Mutex;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::nats::link::Trouble;

/// For how long nothing is removed after that has failed.
const REST: Duration = Duration::from_secs(60);

/// Has one task at a time, which removes something, or rests, and ends with this.
#[derive(Debug, Default)]
pub(super) struct Broom(Mutex<JoinSet<()>>);

impl Broom {
    /// Removes these, each a subject and its last revision, unless others are being removed.
    pub(super) fn sweep(&self, store: &Store, litter: Vec<(String, u64)>) {
        let mut sweeping = self.0.lock().expect("nothing under this lock can panic");
        while sweeping.try_join_next().is_some() {}
        if litter.is_empty() || !sweeping.is_empty() {
            return;
        }
        let store = store.clone();
        sweeping.spawn(async move {
            if let Err(error) = remove(store, litter).await {
                tracing::debug!(%error, "entries that are long over are left where they are");
                sleep(REST).await;
            }
        });
    }
}

/// Ends with the first that cannot be removed.
async fn remove(store: Store, litter: Vec<(String, u64)>) -> Result<(), Trouble> {
    for (subject, revision) in litter {
        // What has been written since stays.
        let purge = store.stream.purge().sequence(revision + 1).filter(subject);
        purge.await.map_err(Trouble::refused)?;
    }
    Ok(())
}
