//! Removes what is long over, while nobody waits for that: whoever may only read is not even told that it is refused.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::nats::link::Trouble;

/// For how long nothing is removed after that has failed.
const REST: Duration = Duration::from_secs(60);

/// Whoever holds it removes something, or rests.
#[derive(Clone, Debug, Default)]
pub(super) struct Broom(Arc<Mutex<()>>);

impl Broom {
    /// Removes these, each a subject and its last revision, unless others are being removed.
    pub(super) fn sweep(&self, store: &Store, litter: Vec<(String, u64)>) {
        let Ok(held) = self.0.clone().try_lock_owned() else { return };
        if litter.is_empty() {
            return;
        }
        let store = store.clone();
        tokio::spawn(async move {
            if let Err(error) = remove(store, litter).await {
                tracing::debug!(%error, "entries that are long over are left where they are");
                sleep(REST).await;
            }
            drop(held);
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
