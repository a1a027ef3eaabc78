//! One request at one endpoint, counted from the pick to the end of its answer.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{
    classify::{Fault, Outcome},
    clock::Moment,
    stats::{Ended, Stats},
};

/// A request that an endpoint is busy with.
///
/// Dropping it ends the count wherever the request got to: a future that is dropped at any point leaves no
/// counter behind. If it is dropped before any answer, the time waited in vain still counts as latency.
#[must_use]
pub struct InFlight {
    stats: Arc<Stats>,
    started: Option<Moment>,
    answered: bool,
    settled: bool,
    /// How it ended, if it was no success, as far as is known.
    ended: Option<Ended>,
    /// Holds the one permit of a half-open endpoint.
    probes: bool,
}

impl InFlight {
    /// Starts to count a request, at `started` if time is measured.
    #[inline]
    pub(crate) fn start(stats: Arc<Stats>, started: Option<Moment>, probes: bool) -> Self {
        stats.start();
        Self { stats, started, answered: false, settled: false, ended: Some(Ended::Void), probes }
    }

    /// Takes the latency: the first of an answer has come.
    #[inline]
    pub fn answered(&mut self) {
        if self.answered {
            return;
        }
        self.answered = true;
        if let Some((latency, now)) = self.elapsed() {
            self.stats.sample(latency, now);
            self.stats.timed(latency);
        }
    }

    /// Takes what the endpoint says of its load, in headers or trailers.
    #[inline]
    pub(crate) fn load_report(&self, headers: &HeaderMap) {
        self.stats.load_report(headers);
    }

    /// Records how the endpoint did. The first word counts.
    #[inline]
    pub fn settle(&mut self, outcome: Outcome) {
        if self.settled {
            return;
        }
        self.settled = true;
        match outcome {
            Outcome::Success => {
                self.answered();
                self.ended = None;
                self.stats.succeeded();
            }
            Outcome::Failure { hint, fault } => self.fail(hint, fault),
        }
        self.end_probe(outcome == Outcome::Success);
    }

    #[cold]
    fn fail(&mut self, hint: Option<Duration>, fault: Fault) {
        if !self.answered && self.stats.times().is_some() {
            self.elapsed().into_iter().for_each(|(latency, _)| self.stats.timed(latency));
        }
        self.answered = true;
        self.ended = Some(Ended::Failed(fault));
        self.stats.failed(fault, hint, self.started.map(|_| self.stats.now()));
    }

    /// Ends the count without a word on the endpoint: the request was handed back.
    pub(crate) fn handed_back(mut self) {
        self.settled = true;
        self.answered = true;
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    #[inline]
    fn elapsed(&self) -> Option<(u64, Moment)> {
        self.started.map(|started| {
            let now = self.stats.now();
            (now.get().saturating_sub(started.get()), now)
        })
    }

    #[inline]
    fn end_probe(&mut self, well: bool) {
        if self.probes {
            self.probes = false;
            self.stats.probed(well);
        }
    }

    /// Ends a request that is given up before there is a word on the endpoint.
    #[cold]
    fn abandon(&mut self) {
        if !self.answered && self.stats.unanswered(self.elapsed()) {
            self.ended = Some(Ended::Failed(Fault::Local));
            self.end_probe(false);
        }
        if self.probes {
            // Too early to tell: the next request may find out.
            self.stats.release_probe();
        }
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        if !self.answered || self.probes {
            self.abandon();
        }
        if let Some(how) = self.ended {
            self.stats.ended(how);
        }
        self.stats.finish();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("answered", &self.answered).finish_non_exhaustive()
    }
}
