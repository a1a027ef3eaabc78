//! Follows the gateways and sidecars of the registry, so that what passes through them is seen.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use micro_discover::Address;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::source::follow;
use super::{Follower, KEY, Traffic};
use crate::catalog::{Catalog, Services};

/// How many are followed at a time.
const MOST: usize = 256;
/// How long to wait after a feed has ended, and after it has ended again and again.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A feed that has lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// How often the dashboard's own requests are taken over.
const OWN_EVERY: Duration = Duration::from_millis(250);

/// What is followed. Clones share it; it ends with the last.
#[derive(Clone, Debug)]
pub(crate) struct Feeds {
    connected: Arc<AtomicUsize>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// Where a feed is: its address and path.
type Place = (Address, String);

impl Feeds {
    /// Merges into `traffic` what the faces in `catalog` tell, who are shown `token`, and what `own` does.
    pub(crate) fn new(
        catalog: Catalog,
        traffic: Traffic,
        own: Option<Follower>,
        token: Option<Arc<str>>,
    ) -> Self {
        let connected = Arc::new(AtomicUsize::new(0));
        let counted = connected.clone();
        let task = tokio::spawn(async move {
            let taking = take(own, traffic.clone());
            tokio::join!(taking, run(catalog, traffic, token, counted));
        });
        Self { connected, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// How many feeds there are right now.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Relaxed)
    }
}

async fn take(own: Option<Follower>, traffic: Traffic) {
    let Some(own) = own else { return };
    let mut ticks = interval(OWN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        traffic.merge(own.take());
    }
}

/// Follows whatever the registry has, for ever.
async fn run(catalog: Catalog, traffic: Traffic, token: Option<Arc<str>>, connected: Arc<AtomicUsize>) {
    let mut changes = catalog.changes();
    let mut feeds = JoinSet::new();
    let mut known: HashMap<Place, AbortHandle> = HashMap::new();
    loop {
        let places = places(&catalog.services(), MOST);
        known.retain(|place, feed| {
            let stays = places.contains(place);
            if !stays {
                feed.abort();
            }
            stays
        });
        for place in places {
            known.entry(place).or_insert_with_key(|(address, path)| {
                let (address, path) = (address.clone(), path.clone());
                feeds.spawn(keep(address, path, token.clone(), traffic.clone(), connected.clone()))
            });
        }
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some(_) = feeds.join_next() => {}
            }
        }
    }
}

/// Where there are feeds: the first `most` of them.
fn places(services: &Services, most: usize) -> HashSet<Place> {
    let endpoints = services.values().flat_map(|records| records.iter()).flat_map(|record| &record.endpoints);
    let places = endpoints.filter_map(|endpoint| {
        let path = endpoint.metadata.get(KEY).filter(|path| path.starts_with('/'))?;
        Some((endpoint.address.clone(), path.clone()))
    });
    places.take(most).collect()
}

/// Follows one face, again and again.
async fn keep(
    address: Address,
    path: String,
    token: Option<Arc<str>>,
    traffic: Traffic,
    connected: Arc<AtomicUsize>,
) {
    let mut wait = SHORTEST;
    loop {
        let began = Instant::now();
        let mut counted = None;
        let ended = follow(&address, &path, token.as_deref(), |batch| {
            counted.get_or_insert_with(|| Counted::new(connected.clone()));
            traffic.merge(batch);
        });
        let ended = ended.await;
        drop(counted);
        if began.elapsed() >= GOOD {
            wait = SHORTEST;
        }
        let why = ended.err().map_or_else(|| "it has ended".to_owned(), |error| error.to_string());
        tracing::debug!(%address, why, ?wait, "a feed of requests has ended");
        // A little more or less, so that many dashboards do not come back at once.
        sleep(wait.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        wait = (wait * 2).min(LONGEST);
    }
}

/// Counts while it is there.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
