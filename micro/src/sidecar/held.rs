//! Announcements that the sidecar renews for whoever asked for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use micro_discover::{Announce, Announcement, Error, Registry, Service};
use tokio::time::timeout;

/// How many records one sidecar holds.
const MOST: usize = 1024;
/// How long the end waits for a record that is just being announced: a registry may take that long to answer.
const LAST: Duration = Duration::from_secs(10);

/// What is held, by the service's name and the ids of its endpoints. Whoever waits for the registry holds the slot of one
/// record, and nobody else up.
#[derive(Debug, Default)]
pub(super) struct Held {
    slots: Mutex<HashMap<Key, Slot>>,
}

type Key = (String, Vec<String>);
type Slot = Arc<tokio::sync::Mutex<Option<(Service, Announcement)>>>;

/// Why a record is not held.
#[derive(Debug)]
pub(super) enum Refused {
    Full,
    Registry(Error),
}

impl Held {
    /// Announces `service` from now on, in place of what was announced for the same endpoints.
    pub(super) async fn hold(&self, registry: &Arc<dyn Registry>, service: Service) -> Result<(), Refused> {
        let place = self.place(key(&service)).ok_or(Refused::Full)?;
        let mut slot = place.slot.lock().await;
        if let Some((known, announcement)) = &mut *slot {
            announcement.update(service.clone()).await.map_err(Refused::Registry)?;
            *known = service;
            return Ok(());
        }
        let announce = Announce::new(registry.clone(), service.clone());
        *slot = Some((service, announce.start().await.map_err(Refused::Registry)?));
        Ok(())
    }

    /// Renews the endpoints `ids` of `name` no more, but those that were announced beside them.
    pub(super) async fn drop_ids(&self, name: &str, ids: &[String]) {
        let wanted = |key: &Key| key.0 == name && key.1.iter().any(|id| ids.contains(id));
        let all =
            self.places(wanted).into_iter().map(|place| place.give_up(|id| ids.iter().any(|one| one == id)));
        // What the registry does not confirm is asked of it once more by whoever withdraws.
        join_all(all).await;
    }

    /// Withdraws everything.
    pub(super) async fn release(&self) {
        let all = self.places(|_| true).into_iter().map(|place| timeout(LAST, place.give_up(|_| true)));
        for result in join_all(all).await {
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the registry did not confirm a withdrawal"),
                Err(_) => tracing::warn!("a record is still being announced at the end"),
            }
        }
    }

    /// The place of `key`, if there is one or room for it.
    fn place(&self, key: Key) -> Option<Place<'_>> {
        let mut slots = self.slots();
        if slots.len() >= MOST && !slots.contains_key(&key) {
            return None;
        }
        let slot = slots.entry(key.clone()).or_default().clone();
        Some(Place { held: self, key, slot })
    }

    fn places(&self, wanted: impl Fn(&Key) -> bool) -> Vec<Place<'_>> {
        let slots = self.slots();
        let wanted = slots.iter().filter(|(key, _)| wanted(key));
        wanted.map(|(key, slot)| Place { held: self, key: key.clone(), slot: slot.clone() }).collect()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one record, for somebody who changes it. The last who leaves it empty removes it.
struct Place<'a> {
    held: &'a Held,
    key: Key,
    slot: Slot,
}

impl Place<'_> {
    /// Withdraws the endpoints that `goes` says, by their ids, of what is announced there.
    async fn give_up(self, goes: impl Fn(&str) -> bool) -> Result<(), Error> {
        let mut slot = self.slot.lock().await;
        let Some((mut service, announcement)) = slot.take() else { return Ok(()) };
        service.endpoints.retain(|endpoint| !goes(&endpoint.id));
        if service.endpoints.is_empty() {
            return announcement.withdraw().await;
        }
        let (_, announcement) = slot.insert((service.clone(), announcement));
        announcement.update(service).await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut slots = self.held.slots();
        // The map has it and this place; nobody else comes by it meanwhile.
        let is_last = Arc::strong_count(&self.slot) == 2;
        if is_last && self.slot.try_lock().is_ok_and(|slot| slot.is_none()) {
            slots.remove(&self.key);
        }
    }
}

fn key(service: &Service) -> Key {
    let mut ids: Vec<_> = service.endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
    ids.sort();
    (service.name.clone(), ids)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_core::future::BoxFuture;
    use futures_core::stream::BoxStream;
    use futures_util::FutureExt as _;
    use micro_discover::{Endpoint, Memory};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// A registry that never answers of the service `slow`.
    #[derive(Clone, Debug, Default)]
    struct Hangs(Memory);

    impl Registry for Hangs {
        fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
            match service.name.as_str() {
                "slow" => pending().boxed(),
                _ => self.0.announce(service, ttl),
            }
        }

        fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
            match service.name.as_str() {
                "slow" => pending().boxed(),
                _ => self.0.withdraw(service),
            }
        }

        fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
            self.0.list()
        }

        fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
            self.0.get(name)
        }

        fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
            self.0.watch(name)
        }

        fn backend(&self) -> &'static str {
            "hangs"
        }
    }

    fn service(name: &str) -> Service {
        Service::new(name).endpoint(Endpoint::new("a", "127.0.0.1:1".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_registration_that_hangs_holds_up_neither_others_nor_the_end() {
        let (held, registry) = (Held::default(), Arc::new(Hangs::default()));
        let dynamic: Arc<dyn Registry> = registry.clone();
        let began = Instant::now();
        let slow = held.hold(&dynamic, service("slow"));
        let others = async {
            sleep(Duration::from_millis(1)).await;
            held.hold(&dynamic, service("fast")).await.unwrap();
            held.hold(&dynamic, service("fast").version("2")).await.unwrap();
            assert_eq!(registry.get("fast").await.unwrap().len(), 1);
            held.drop_ids("fast", &["a".to_owned()]).await;
            assert!(registry.get("fast").await.unwrap().is_empty());
            held.hold(&dynamic, service("fast")).await.unwrap();
            assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
            held.release().await;
        };
        let (slow, ()) = tokio::join!(slow, others);
        slow.unwrap();
        assert!(registry.get("fast").await.unwrap().is_empty());
        assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
        assert!(held.slots().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_withdraws_one_node_of_a_record_leaves_the_others() {
        let (held, registry) = (Held::default(), Arc::new(Memory::new()) as Arc<dyn Registry>);
        let two = service("two").endpoint(Endpoint::new("b", "127.0.0.1:2".parse().unwrap()));
        held.hold(&registry, two).await.unwrap();
        held.drop_ids("two", &["a".to_owned()]).await;
        // Longer than it is believed in what is renewed no more.
        sleep(Duration::from_secs(60)).await;
        let left = registry.get("two").await.unwrap();
        let ids: Vec<_> = left.iter().flat_map(|record| &record.endpoints).map(|one| &*one.id).collect();
        assert_eq!(ids, ["b"]);
        held.drop_ids("two", &["b".to_owned()]).await;
        assert!(registry.get("two").await.unwrap().is_empty() && held.slots().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_or_is_refused_leaves_nothing() {
        let (held, registry) = (Held::default(), Arc::new(Hangs::default()) as Arc<dyn Registry>);
        let hold = timeout(Duration::from_secs(1), held.hold(&registry, service("slow"))).await;
        assert!(hold.is_err() && held.slots().is_empty());
        let refused = held.hold(&registry, Service::new("nobody")).await;
        assert!(matches!(refused, Err(Refused::Registry(_))) && held.slots().is_empty());
    }
}
