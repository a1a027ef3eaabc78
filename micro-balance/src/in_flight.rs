//! One request at one endpoint, counted from the pick to the end of its answer.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{classify::Outcome, endpoint::Stats};

/// A request that an endpoint is busy with.
///
/// Dropping it ends the count wherever the request got to: a future that is dropped at any point leaves no
/// counter behind. If it is dropped before any answer, the time waited in vain still counts as latency.
#[must_use]
pub struct InFlight {
    stats: Arc<Stats>,
    started: Option<Instant>,
    answered: bool,
    settled: bool,
    /// Holds the one permit of a half-open endpoint.
    probes: bool,
}

impl InFlight {
    /// Starts to count a request, at `started` if time is measured.
    pub(crate) fn start(stats: Arc<Stats>, started: Option<Instant>, probes: bool) -> Self {
        stats.start();
        Self { stats, started, answered: false, settled: false, probes }
    }

    /// Takes the latency: the first of an answer has come.
    pub fn answered(&mut self) {
        if !std::mem::replace(&mut self.answered, true)
            && let Some((latency, now)) = self.elapsed()
        {
            self.stats.sample(latency, now);
        }
    }

    /// Records how the endpoint did. The first word counts.
    pub fn settle(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        match outcome {
            Outcome::Success => {
                self.answered();
                self.stats.succeeded();
            }
            Outcome::Failure { hint } => {
                self.answered = true;
                self.stats.failed(hint, self.started.map(|_| Instant::now()));
            }
        }
        self.end_probe(outcome == Outcome::Success);
    }

    /// Ends the count without a word on the endpoint: the request was handed back.
    pub(crate) fn handed_back(mut self) {
        self.settled = true;
        self.answered = true;
    }

    fn elapsed(&self) -> Option<(Duration, Instant)> {
        self.started.map(|started| {
            let now = Instant::now();
            (now.saturating_duration_since(started), now)
        })
    }

    fn end_probe(&mut self, well: bool) {
        if std::mem::replace(&mut self.probes, false) {
            self.stats.probed(well);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.answered {
            let waited = self.elapsed();
            if self.stats.unanswered(waited) {
                self.end_probe(false);
            }
        }
        if self.probes {
            // Given up too early to tell: the next request may find out.
            self.stats.release_probe();
        }
        self.stats.finish();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("answered", &self.answered).finish_non_exhaustive()
    }
}
