//! Puts entries, and finds out by the way when somebody else has put one of them since.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_nats::jetstream::kv::{Store, UpdateErrorKind};
use bytes::Bytes;

use super::entries::key;
use crate::gomicro::{decode_said, encode_said};
use crate::nats::BACKEND;
use crate::nats::link::Trouble;
use crate::record::Service;
use crate::rival::Rivals;
use crate::said::Said;

/// What this process has put, by its key: the revision it is of, unless somebody wrote there since.
#[derive(Default)]
pub(super) struct Puts {
    revisions: Mutex<HashMap<String, u64>>,
    rivals: Rivals,
}

impl Puts {
    /// Puts a record of one endpoint, whoever else has.
    pub(super) async fn put(
        &self,
        store: &Store,
        record: Service,
        ttl: Option<Duration>,
    ) -> Result<(), Trouble> {
        let key = key(&record.name, &record.endpoints[0].id);
        let value: Bytes = encode_said(&Said { service: record.clone(), ttl, owner: None }).into();
        // Whatever comes of it, the next time does not depend on it.
        let before = self.revisions().remove(&key);
        let revision = match before {
            Some(revision) => match store.update(&key, value.clone(), revision).await {
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => None,
                updated => Some(updated.map_err(Trouble::refused)?),
            },
            None => None,
        };
        let revision = match revision {
            Some(revision) => revision,
            None => {
                if before.is_some() {
                    self.meet(store, &key, &record).await;
                }
                store.put(&key, value).await.map_err(Trouble::refused)?
            }
        };
        self.revisions().insert(key, revision);
        Ok(())
    }

    /// Looks who has written there. Where that cannot be read it is not said.
    async fn meet(&self, store: &Store, key: &str, ours: &Service) {
        let Ok(Some(found)) = store.get(key).await else { return };
        if let Ok(theirs) = decode_said(&found) {
            self.rivals.meet(BACKEND, ours, &theirs.service);
        }
    }

    /// The endpoints of `service` are put no more.
    pub(super) fn forget(&self, service: &Service) {
        self.rivals.part(service);
        let mut revisions = self.revisions();
        for endpoint in &service.endpoints {
            revisions.remove(&key(&service.name, &endpoint.id));
        }
    }

    fn revisions(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.revisions.lock().expect("nothing under this lock can panic")
    }
}
