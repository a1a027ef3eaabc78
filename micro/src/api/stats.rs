//! The last two minutes of a gateway: how many requests ended how.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

/// How long one count lasts, and how many are kept.
const EACH: Duration = Duration::from_secs(5);
const KEPT: usize = 24;

/// Counts answers by the first digit of their status. Clones count together.
#[derive(Clone, Debug)]
pub struct Stats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: u64,
    totals: [AtomicU64; 4],
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    before: [u64; 4],
    counts: VecDeque<Count>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Count {
    timestamp: u64,
    status_codes: Codes,
    total_reqs: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Codes {
    #[serde(rename = "20x")]
    ok: u64,
    #[serde(rename = "30x")]
    elsewhere: u64,
    #[serde(rename = "40x")]
    refused: u64,
    #[serde(rename = "50x")]
    failed: u64,
}

impl Default for Stats {
    fn default() -> Self {
        let totals = Default::default();
        Self(Arc::new(Inner { started: now(), totals, past: Mutex::default() }))
    }
}

impl Stats {
    /// A request was answered.
    pub fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.0.totals[class].fetch_add(1, Relaxed);
    }

    /// Closes a count every 5 s, for ever.
    pub(crate) async fn run(self) {
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let mut past = self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
            let count = self.0.since(&mut past);
            past.counts.push_back(count);
            if past.counts.len() > KEPT {
                past.counts.pop_front();
            }
        }
    }

    /// What go-micro's `/stats` answers.
    pub(super) fn json(&self) -> serde_json::Value {
        let past = self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = past.counts.clone();
        counts.push_back(self.0.present(&past));
        let (memory, threads) = process();
        json!({
            "started": self.0.started,
            "memory": format!("{:.2}mb", memory as f64 / 1_048_576.0),
            "threads": threads,
            "gc_pause": "0.000ms",
            "counters": counts,
        })
    }
}

impl Inner {
    fn totals(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|class| self.totals[class].load(Relaxed))
    }

    /// What came since the last count was closed.
    fn present(&self, past: &Past) -> Count {
        let totals = self.totals();
        let [ok, elsewhere, refused, failed] = [0, 1, 2, 3].map(|class| totals[class] - past.before[class]);
        let total_reqs = ok + elsewhere + refused + failed;
        Count { timestamp: now(), status_codes: Codes { ok, elsewhere, refused, failed }, total_reqs }
    }

    fn since(&self, past: &mut Past) -> Count {
        let count = self.present(past);
        let Codes { ok, elsewhere, refused, failed } = count.status_codes;
        for (before, new) in past.before.iter_mut().zip([ok, elsewhere, refused, failed]) {
            *before += new;
        }
        count
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Bytes in memory and threads of this process, where the system says.
fn process() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (number("VmRSS:") * 1024, number("Threads:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_answer_is_in_the_count_of_its_time() {
        let stats = Stats::default();
        let counting = tokio::spawn(stats.clone().run());
        tokio::time::sleep(Duration::from_secs(1)).await;
        for status in [200, 204, 302, 404, 502, 101] {
            stats.count(StatusCode::from_u16(status).unwrap());
        }
        tokio::time::sleep(EACH).await;
        stats.count(StatusCode::OK);
        let counters = stats.json()["counters"].as_array().unwrap().clone();
        let totals: Vec<_> = counters.iter().map(|count| count["total_reqs"].as_u64().unwrap()).collect();
        assert_eq!(totals, [0, 6, 1]);
        assert_eq!(counters[1]["status_codes"], json!({"20x": 3, "30x": 1, "40x": 1, "50x": 1}));
        tokio::time::sleep(EACH * 100).await;
        assert_eq!(stats.json()["counters"].as_array().unwrap().len(), KEPT + 1);
        counting.abort();
    }
}
