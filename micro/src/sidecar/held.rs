//! Announcements that the sidecar renews for whoever asked for them.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use micro_discover::{Announce, Announcement, Error, Registry, Service};
use tokio::sync::Mutex;

/// How many records one sidecar holds.
const MOST: usize = 1024;

/// What is held, by the service's name and the ids of its endpoints.
#[derive(Debug, Default)]
pub(super) struct Held {
    announcements: Mutex<HashMap<Key, Announcement>>,
}

type Key = (String, Vec<String>);

/// Why a record is not held.
#[derive(Debug)]
pub(super) enum Refused {
    Full,
    Registry(Error),
}

impl Held {
    /// Announces `service` from now on, in place of what was announced for the same endpoints.
    pub(super) async fn hold(&self, registry: &Arc<dyn Registry>, service: Service) -> Result<(), Refused> {
        let key = key(&service);
        let mut announcements = self.announcements.lock().await;
        if let Some(announcement) = announcements.get(&key) {
            return announcement.update(service).await.map_err(Refused::Registry);
        }
        if announcements.len() >= MOST {
            return Err(Refused::Full);
        }
        let announcement =
            Announce::new(registry.clone(), service).start().await.map_err(Refused::Registry)?;
        announcements.insert(key, announcement);
        Ok(())
    }

    /// Renews the endpoints `ids` of `name` no more.
    pub(super) async fn drop_ids(&self, name: &str, ids: &[String]) {
        let dropped: Vec<_> = {
            let mut announcements = self.announcements.lock().await;
            let wanted = |key: &Key| key.0 == name && key.1.iter().any(|id| ids.contains(id));
            let keys: Vec<_> = announcements.keys().filter(|key| wanted(key)).cloned().collect();
            keys.iter().filter_map(|key| announcements.remove(key)).collect()
        };
        join_all(dropped.into_iter().map(Announcement::withdraw)).await;
    }

    /// Withdraws everything.
    pub(super) async fn release(&self) {
        let all: Vec<_> = self.announcements.lock().await.drain().map(|(_, held)| held).collect();
        for result in join_all(all.into_iter().map(Announcement::withdraw)).await {
            if let Err(error) = result {
                tracing::warn!(%error, "the registry did not confirm a withdrawal");
            }
        }
    }
}

fn key(service: &Service) -> Key {
    let mut ids: Vec<_> = service.endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
    ids.sort();
    (service.name.clone(), ids)
}
