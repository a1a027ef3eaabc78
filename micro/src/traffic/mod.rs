//! What has lately gone to which endpoint: the figures behind charts, and a live feed of requests.
//!
//! Whoever passes requests on tells a [`Recorder`] of them, which [`router`] serves to other processes. Whoever shows
//! them keeps a [`Traffic`], reads its figures, or follows its feed. Nothing of a request's content is kept, and
//! everything has a bound.

mod count;
mod exchange;

mod batch;
mod recorder;

mod feed;
mod source;

mod series;
mod window;

mod feeds;

pub use batch::{Batch, Counted};
pub use count::Count;
pub use exchange::Exchange;
pub use feed::{Access, PATH, router};
pub(crate) use feeds::Feeds;
pub use recorder::{Follower, Recorder};
pub use series::{Figures, Series};

/// The label by which an endpoint says at which path its requests can be followed.
pub const KEY: &str = "traffic";

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::time::Instant;

use self::window::Window;

/// Requests that a follower may be behind; then it misses some, and is told how many.
const BEHIND: usize = 1024;
/// How many endpoints, and how many pairs of callers and services, are kept figures of. What comes beyond is fed to
/// followers but not counted.
const KEPT: usize = 12_000;
/// A longer name is nobody's.
const LONGEST: usize = 512;

/// Recent requests, by endpoint and by caller. Clones share everything.
#[derive(Clone)]
pub struct Traffic {
    started: Instant,
    tables: Arc<Mutex<Tables>>,
    feed: broadcast::Sender<Arc<Seen>>,
}

/// What followers are told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Seen {
    /// A request that is over.
    Request(Exchange),
    /// There were more than could be told one by one.
    Missed(u64),
}

#[derive(Default)]
struct Tables {
    /// By service and endpoint.
    endpoints: Table,
    /// By caller and service.
    edges: Table,
}

/// Figures by two names.
#[derive(Default)]
struct Table {
    windows: BTreeMap<(String, String), Window>,
    /// In which slot it was looked for what has been quiet for long.
    tidied: Option<u64>,
}

/// Who called whom, and how that went.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Edge {
    /// The caller, as it names itself; empty when it does not.
    pub from: String,
    /// The service.
    pub to: String,
    /// The last minute.
    pub figures: Figures,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::new()
    }
}

impl Traffic {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { started: Instant::now(), tables: Arc::default(), feed: broadcast::channel(BEHIND).0 }
    }

    /// Counts a request that is over, and feeds it to followers.
    pub fn record(&self, exchange: Exchange) {
        let mut count = Count::default();
        count.add(exchange.ok, exchange.millis);
        self.count(&exchange.from, &exchange.service, &exchange.endpoint, &count);
        self.tell(Seen::Request(exchange));
    }

    /// Takes over what another process has seen.
    pub fn merge(&self, batch: Batch) {
        let fits = |text: &str| text.len() <= LONGEST;
        for Counted { from, service, endpoint, count } in batch.counts {
            if fits(&from) && fits(&service) && fits(&endpoint) {
                self.count(&from, &service, &endpoint, &count);
            }
        }
        let mut missed = batch.missed;
        for exchange in batch.requests {
            let all_fit = exchange.texts().into_iter().all(fits);
            match all_fit {
                true => self.tell(Seen::Request(exchange)),
                false => missed = missed.saturating_add(1),
            }
        }
        if missed > 0 {
            self.tell(Seen::Missed(missed));
        }
    }

    fn count(&self, from: &str, service: &str, endpoint: &str, count: &Count) {
        let slot = self.slot();
        let mut tables = self.tables();
        let Tables { endpoints, edges } = &mut *tables;
        endpoints.add((service.to_owned(), endpoint.to_owned()), slot, count);
        edges.add((from.to_owned(), service.to_owned()), slot, count);
    }

    fn tell(&self, seen: Seen) {
        // That nobody follows is no error.
        let _ = self.feed.send(Arc::new(seen));
    }

    /// Every request from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Seen>> {
        self.feed.subscribe()
    }

    /// The last two minutes of one endpoint, by slots of five seconds.
    pub fn series(&self, service: &str, endpoint: &str) -> Series {
        let slot = self.slot();
        let tables = self.tables();
        let window = tables.endpoints.windows.get(&(service.to_owned(), endpoint.to_owned()));
        window.map_or_else(Series::default, |window| window.series(slot))
    }

    /// The last minute of one service, all its endpoints together.
    pub fn figures(&self, service: &str) -> Figures {
        let slot = self.slot();
        let tables = self.tables();
        let first = (service.to_owned(), String::new());
        let of_it = tables.endpoints.windows.range(first..).take_while(|((name, _), _)| name == service);
        Figures::of(of_it.map(|(_, window)| window.minute(slot)))
    }

    /// Who called whom in the last minute.
    pub fn edges(&self) -> Vec<Edge> {
        let slot = self.slot();
        let mut tables = self.tables();
        tables.endpoints.tidy(slot);
        tables.edges.tidy(slot);
        let edges = tables.edges.windows.iter().map(|((from, to), window)| Edge {
            from: from.clone(),
            to: to.clone(),
            figures: Figures::of([window.minute(slot)]),
        });
        edges.filter(|edge| edge.figures.requests > 0).collect()
    }

    /// The number of the slot under way.
    fn slot(&self) -> u64 {
        self.started.elapsed().as_secs() / 5
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, key: (String, String), slot: u64, count: &Count) {
        if self.windows.len() >= KEPT && !self.windows.contains_key(&key) {
            self.tidy(slot);
            if self.windows.len() >= KEPT {
                return;
            }
        }
        self.windows.entry(key).or_default().add(slot, count);
    }

    /// What has been quiet for long gives way. Within one slot nothing else becomes quiet, and a full table is not looked
    /// through for every request that finds no room.
    fn tidy(&mut self, slot: u64) {
        if self.tidied.replace(slot) != Some(slot) {
            self.windows.retain(|_, window| window.is_recent(slot));
        }
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("followers", &self.feed.receiver_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn exchange(endpoint: &str, ok: bool, millis: f64) -> Exchange {
        let mut exchange =
            Exchange::new("greeter", "Greeter.Hello", if ok { "OK" } else { "UNAVAILABLE" }, ok);
        (exchange.from, exchange.endpoint, exchange.millis) = ("visitor".into(), endpoint.into(), millis);
        exchange
    }

    #[tokio::test(start_paused = true)]
    async fn figures_are_of_the_last_minute_and_by_endpoint() {
        let traffic = Traffic::new();
        for _ in 0..90 {
            traffic.record(exchange("a", true, 10.0));
        }
        for _ in 0..10 {
            traffic.record(exchange("b", false, 100.0));
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        let figures = traffic.figures("greeter");
        assert_eq!((figures.requests, figures.failures), (100, 10));
        assert!(
            (9.0..=12.0).contains(&figures.p50_ms) && (90.0..=110.0).contains(&figures.p99_ms),
            "{figures:?}"
        );
        assert_eq!(traffic.series("greeter", "a").requests.iter().sum::<u32>(), 90);
        assert_eq!(traffic.edges()[0].from, "visitor");

        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(traffic.figures("greeter").requests, 0);
        tokio::time::advance(Duration::from_secs(120)).await;
        assert!(traffic.edges().is_empty() && traffic.tables().endpoints.windows.is_empty());
    }

    #[tokio::test]
    async fn followers_see_requests_as_they_end() {
        let traffic = Traffic::new();
        let mut feed = traffic.follow();
        traffic.record(exchange("a", true, 1.0));
        assert!(
            matches!(&*feed.recv().await.unwrap(), Seen::Request(seen) if seen.method == "Greeter.Hello")
        );
    }

    #[tokio::test]
    async fn what_another_process_has_seen_is_taken_over_whole() {
        let (recorder, traffic) = (Recorder::new("go.micro.api"), Traffic::new());
        let (follower, mut feed) = (recorder.follow().unwrap(), traffic.follow());
        (0..100).for_each(|_| recorder.record(&exchange("a", true, 3.0)));
        traffic.merge(follower.take());
        let figures = traffic.figures("greeter");
        assert_eq!(
            (figures.requests, figures.failures, traffic.edges()[0].from.as_str()),
            (100, 0, "visitor")
        );
        assert!((2.5..=3.5).contains(&figures.p50_ms), "{figures:?}");
        let mut seen = 0;
        while let Seen::Request(_) = &*feed.recv().await.unwrap() {
            seen += 1;
        }
        assert_eq!(seen, 64, "then it is said how many more there were");
    }

    #[test]
    fn what_a_hostile_process_tells_has_bounds() {
        let traffic = Traffic::new();
        let json = r#"{"counts":[{"from":"a","service":"s","endpoint":"e","requests":4294967295,"failures":9,"millis":1e300,
            "steps":[[255,4294967295],[0,4294967295],[0,4294967295]]}]}"#;
        (0..3).for_each(|_| traffic.merge(serde_json::from_str(json).unwrap()));
        assert_eq!(traffic.figures("s").requests, u64::from(u32::MAX));
        let long = json.replace(r#""from":"a""#, &format!(r#""from":"{}""#, "x".repeat(10_000)));
        traffic.merge(serde_json::from_str(&long).unwrap());
        assert_eq!(traffic.edges().len(), 1);

        let mut feed = traffic.follow();
        let mut long = exchange("a", true, 1.0);
        long.method = "x".repeat(10_000);
        traffic.merge(Batch { requests: vec![long], ..Batch::default() });
        assert_eq!(*feed.try_recv().unwrap(), Seen::Missed(1), "what is too long is not kept for followers");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_table_takes_what_is_new_once_something_has_been_quiet_for_long() {
        let traffic = Traffic::new();
        (0..=KEPT).for_each(|number| traffic.record(exchange(&number.to_string(), true, 1.0)));
        let last = KEPT.to_string();
        tokio::time::advance(Duration::from_secs(180)).await;
        traffic.record(exchange(&last, true, 1.0));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(traffic.series("greeter", &last).requests.iter().sum::<u32>(), 1);
    }
}
