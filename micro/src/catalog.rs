//! Everything a registry knows, kept up to date: for faces that show all services at once.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use micro_discover::{Registry, Service, Watch};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Every service by its name: a record per version. A copy of it shares the records.
pub type Services = BTreeMap<String, Arc<[Service]>>;

/// What a registry knows, as it changes. Clones share one set of watches, which ends with the last of them.
///
/// Each service is watched, so a change of one shows at once; new names are looked for several times a second, less
/// often where the registry is slow to list them. While it is out of reach, what was known last stands.
#[derive(Clone, Debug)]
pub struct Catalog {
    services: watch::Receiver<Arc<Services>>,
    settled: watch::Receiver<bool>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// New names are looked for this often …
const SOONEST: Duration = Duration::from_millis(100);
/// … or, where the registry takes its time to list them, with so many times as long between …
const PAUSE: u32 = 5;
/// … up to this.
const LATEST: Duration = Duration::from_secs(1);
/// How long the registry may take to list them.
const LIST_WITHIN: Duration = Duration::from_secs(10);

impl Catalog {
    /// Follows `registry`.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        let (sender, services) = watch::channel(Arc::default());
        let (tell, settled) = watch::channel(false);
        let task = tokio::spawn(follow(registry, sender, tell));
        Self { services, settled, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// Ends once the registry has said what there is: at once, but for the moment after the start. While it is out of
    /// reach, never.
    pub async fn settled(&self) {
        // Nobody tells any more once the last clone is gone, and this is one.
        self.settled.clone().wait_for(|settled| *settled).await.ok();
    }

    /// What is known now. Nothing is, until it has [`settled`](Self::settled).
    pub fn services(&self) -> Arc<Services> {
        self.services.borrow().clone()
    }

    /// The records of `name`, one per version; none when nobody has it.
    pub fn service(&self, name: &str) -> Arc<[Service]> {
        self.services.borrow().get(name).cloned().unwrap_or_default()
    }

    /// A receiver that tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<Arc<Services>> {
        let mut changes = self.services.clone();
        changes.mark_unchanged();
        changes
    }
}

/// A service's name, and its records.
type Set = (String, Vec<Service>);
type Sets = SelectAll<BoxStream<'static, Set>>;

async fn follow(
    registry: Arc<dyn Registry>,
    sender: watch::Sender<Arc<Services>>,
    settled: watch::Sender<bool>,
) {
    let (mut watched, mut sets) = (BTreeMap::new(), Sets::new());
    // The services of which nothing was heard yet.
    let mut unheard = BTreeSet::new();
    let mut lists = pin!(lists(registry.clone()));
    let mut listed_once = false;
    loop {
        tokio::select! {
            Some((name, set)) = sets.next() => {
                unheard.remove(&name);
                put(&sender, name, set);
            }
            Some(listed) = lists.next() => {
                listed_once = true;
                // What is not there any more, by the list's word and by its own, is no longer watched.
                watched.retain(|name, watch: &mut stream::AbortHandle| {
                    let stays = listed.contains(name) || unheard.contains(name) || sender.borrow().contains_key(name);
                    if !stays {
                        watch.abort();
                    }
                    stays
                });
                for name in listed {
                    watched.entry(name).or_insert_with_key(|name| {
                        unheard.insert(name.clone());
                        let (sets_of_it, watch) = stream::abortable(sets_of(registry.clone(), name));
                        sets.push(sets_of_it.boxed());
                        watch
                    });
                }
            }
        }
        if listed_once && unheard.is_empty() {
            settled.send_if_modified(|settled| !std::mem::replace(settled, true));
        }
    }
}

/// The names there are, again and again. A registry that cannot list them now is asked again.
fn lists(registry: Arc<dyn Registry>) -> impl Stream<Item = BTreeSet<String>> {
    stream::unfold((registry, Duration::ZERO), |(registry, mut pause)| async move {
        loop {
            sleep(pause).await;
            let began = Instant::now();
            let listed = timeout(LIST_WITHIN, registry.list()).await;
            pause = (began.elapsed() * PAUSE).clamp(SOONEST, LATEST);
            if let Ok(Ok(listed)) = listed {
                let names = listed.into_iter().map(|service| service.name).collect();
                return Some((names, (registry, pause)));
            }
        }
    })
}

fn sets_of(registry: Arc<dyn Registry>, name: &str) -> BoxStream<'static, Set> {
    stream::repeat(name.to_owned()).zip(Watch::new(registry, name)).boxed()
}

fn put(sender: &watch::Sender<Arc<Services>>, name: String, mut set: Vec<Service>) {
    set.retain(|record| !record.endpoints.is_empty());
    set.sort_by(|one, other| one.version.cmp(&other.version));
    sender.send_if_modified(|services| {
        if services.get(&name).map_or(set.is_empty(), |known| **known == *set) {
            return false;
        }
        let services = Arc::make_mut(services);
        match set.is_empty() {
            true => services.remove(&name),
            false => services.insert(name, set.into()),
        };
        true
    });
}

#[cfg(test)]
mod tests {
    use micro_discover::{Endpoint, Memory};

    use super::*;

    fn record(name: &str, id: &str) -> Service {
        Service::new(name).endpoint(Endpoint::new(id, "127.0.0.1:1".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn services_come_and_go_as_the_registry_says() {
        let registry = Memory::new();
        let catalog = Catalog::new(Arc::new(registry.clone()));
        let mut changes = catalog.changes();
        registry.announce(&record("greeter", "a"), Duration::ZERO).await.unwrap();
        changes.changed().await.unwrap();
        assert_eq!(*catalog.service("greeter"), [record("greeter", "a")]);

        registry.withdraw(&record("greeter", "a")).await.unwrap();
        changes.changed().await.unwrap();
        assert!(catalog.services().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn services_that_come_and_go_for_good_leave_nothing_behind() {
        let registry = Memory::new();
        let catalog = Catalog::new(Arc::new(registry.clone()));
        let mut changes = catalog.changes();
        for round in 0..3 {
            let passing = record(&format!("passing-{round}"), "a");
            registry.announce(&passing, Duration::ZERO).await.unwrap();
            changes.wait_for(|services| services.contains_key(&passing.name)).await.unwrap();
            registry.withdraw(&passing).await.unwrap();
            changes.wait_for(|services| services.is_empty()).await.unwrap();
        }
        // A name that comes back is watched anew.
        sleep(2 * LATEST).await;
        registry.announce(&record("passing-0", "b"), Duration::ZERO).await.unwrap();
        changes.wait_for(|services| services.contains_key("passing-0")).await.unwrap();
        assert_eq!(*catalog.service("passing-0"), [record("passing-0", "b")]);
    }
}
