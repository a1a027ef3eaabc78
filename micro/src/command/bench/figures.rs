//! What came of calls: how many there were, how they ended, how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Code;

use crate::codes;
use crate::command::reply::{Benched, BenchedEndpoint, Latency};

/// What came of calls so far.
#[derive(Default)]
pub(super) struct Figures {
    all: Tally,
    endpoints: BTreeMap<String, Tally>,
    statuses: BTreeMap<&'static str, u64>,
}

/// Some of them.
#[derive(Default)]
struct Tally {
    calls: u64,
    failed: u64,
    /// In microseconds, to a thousandth, of those that went well.
    took: Option<Histogram<u64>>,
}

impl Figures {
    /// A call ended with `code`, at this endpoint if it got so far.
    pub(super) fn note(&mut self, endpoint: Option<&str>, code: Code, took: Duration) {
        self.all.note(code, took);
        if let Some(id) = endpoint {
            match self.endpoints.get_mut(id) {
                Some(tally) => tally.note(code, took),
                None => self.endpoints.entry(id.to_owned()).or_default().note(code, took),
            }
        }
        *self.statuses.entry(codes::name(code)).or_default() += 1;
    }

    /// How many calls there were, and how many of them failed.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.all.calls, self.all.failed)
    }

    /// All of it, after it `ran` so long.
    pub(super) fn benched(&self, ran: Duration) -> Benched {
        let seconds = ran.as_secs_f64();
        let endpoint = |(id, tally): (&String, &Tally)| BenchedEndpoint {
            id: id.clone(),
            calls: tally.calls,
            failed: tally.failed,
            latency_ms: tally.latency(),
        };
        Benched {
            seconds: rounded(seconds),
            calls: self.all.calls,
            failed: self.all.failed,
            calls_per_second: rounded(self.all.calls as f64 / seconds.max(0.001)),
            statuses: self.statuses.iter().map(|(name, calls)| ((*name).to_owned(), *calls)).collect(),
            latency_ms: self.all.latency(),
            endpoints: self.endpoints.iter().map(endpoint).collect(),
            ..Benched::default()
        }
    }
}

impl Tally {
    fn note(&mut self, code: Code, took: Duration) {
        self.calls += 1;
        if code != Code::Ok {
            self.failed += 1;
            return;
        }
        if self.took.is_none() {
            self.took = Histogram::new(3).ok();
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(took) = &mut self.took {
            // A histogram that cannot grow any more would be one of years.
            took.record(micros).ok();
        }
    }

    fn latency(&self) -> Option<Latency> {
        let took = self.took.as_ref()?;
        let millis = |micros: u64| micros as f64 / 1e3;
        let at = |quantile| millis(took.value_at_quantile(quantile));
        Some(Latency {
            min: millis(took.min()),
            mean: rounded(took.mean() / 1e3),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(took.max()),
        })
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_counts_and_what_went_well_is_measured() {
        let mut figures = Figures::default();
        for millis in 1..=100 {
            let endpoint = if millis % 2 == 0 { "a" } else { "b" };
            figures.note(Some(endpoint), Code::Ok, Duration::from_millis(millis));
        }
        figures.note(Some("b"), Code::Unavailable, Duration::from_secs(9));
        figures.note(None, Code::DeadlineExceeded, Duration::from_secs(9));
        let benched = figures.benched(Duration::from_secs(2));
        assert_eq!((benched.calls, benched.failed, benched.calls_per_second), (102, 2, 51.0));
        assert_eq!(benched.statuses["UNAVAILABLE"], 1);
        let latency = benched.latency_ms.unwrap();
        let near = |left: f64, right: f64| (left / right - 1.0).abs() < 0.002;
        assert!(
            near(latency.p50, 50.0) && near(latency.p99, 99.0) && near(latency.max, 100.0),
            "{latency:?}"
        );
        assert!(near(latency.min, 1.0) && near(latency.mean, 50.5), "{latency:?}");
        let counted: Vec<_> = benched.endpoints.iter().map(|one| (&*one.id, one.calls, one.failed)).collect();
        assert_eq!(counted, [("a", 50, 0), ("b", 51, 1)]);
    }

    #[test]
    fn no_call_is_no_latency() {
        let benched = Figures::default().benched(Duration::ZERO);
        assert_eq!((benched.calls, benched.latency_ms), (0, None));
    }
}
