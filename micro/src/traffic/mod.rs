//! What has lately gone to which endpoint: the figures behind charts, and a live feed of requests.
//!
//! Whoever passes requests on [records](Traffic::record) them; whoever shows them reads the figures, or follows the
//! feed. Nothing of a request's content is kept, and everything has a bound.

mod exchange;
mod series;
mod window;

pub use exchange::Exchange;
pub use series::{Figures, Series};

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

/// Recent requests, by endpoint and by caller. Clones share everything.
#[derive(Clone)]
pub struct Traffic {
    started: Instant,
    tables: Arc<Mutex<Tables>>,
    feed: broadcast::Sender<Arc<Exchange>>,
}

#[derive(Default)]
struct Tables {
    /// By service and endpoint.
    endpoints: BTreeMap<(String, String), Window>,
    /// By caller and service.
    edges: BTreeMap<(String, String), Window>,
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
        let slot = self.slot();
        {
            let mut tables = self.tables();
            let Tables { endpoints, edges } = &mut *tables;
            let keys = [
                (endpoints, (exchange.service.clone(), exchange.endpoint.clone())),
                (edges, (exchange.from.clone(), exchange.service.clone())),
            ];
            for (table, key) in keys {
                if table.len() < KEPT || table.contains_key(&key) {
                    table.entry(key).or_default().add(slot, exchange.ok, exchange.millis);
                }
            }
        }
        // That nobody follows is no error.
        let _ = self.feed.send(Arc::new(exchange));
    }

    /// Every request from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Exchange>> {
        self.feed.subscribe()
    }

    /// The last two minutes of one endpoint, by slots of five seconds.
    pub fn series(&self, service: &str, endpoint: &str) -> Series {
        let slot = self.slot();
        let tables = self.tables();
        let window = tables.endpoints.get(&(service.to_owned(), endpoint.to_owned()));
        window.map_or_else(Series::default, |window| window.series(slot))
    }

    /// The last minute of one service, all its endpoints together.
    pub fn figures(&self, service: &str) -> Figures {
        let slot = self.slot();
        let tables = self.tables();
        let first = (service.to_owned(), String::new());
        let of_it = tables.endpoints.range(first..).take_while(|((name, _), _)| name == service);
        Figures::of(of_it.map(|(_, window)| window.minute(slot)))
    }

    /// Who called whom in the last minute.
    pub fn edges(&self) -> Vec<Edge> {
        let slot = self.slot();
        let mut tables = self.tables();
        // What has been quiet for long is no longer kept.
        tables.endpoints.retain(|_, window| window.is_recent(slot));
        tables.edges.retain(|_, window| window.is_recent(slot));
        let edges = tables.edges.iter().map(|((from, to), window)| Edge {
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
        assert!(traffic.edges().is_empty() && traffic.tables().endpoints.is_empty());
    }

    #[tokio::test]
    async fn followers_see_requests_as_they_end() {
        let traffic = Traffic::new();
        let mut feed = traffic.follow();
        traffic.record(exchange("a", true, 1.0));
        assert_eq!(feed.recv().await.unwrap().method, "Greeter.Hello");
    }
}
