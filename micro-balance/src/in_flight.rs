//! One request at one endpoint, counted from the pick to the end of its answer.

use std::{fmt, mem, sync::Arc, time::Duration};

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
    /// How many answers there had been when it began, where that is counted.
    answers: u32,
    phase: Phase,
    /// Holds the one permit of a half-open endpoint.
    probes: bool,
    /// How often the request has come back unsent before.
    hand_backs: u8,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come back.
    Open,
    /// The first of an answer has.
    Answered,
    /// It went well, and that is told.
    Well,
    /// It did not, and that is told.
    Failed(Fault),
    /// It was handed back, which says nothing about the endpoint.
    HandedBack,
}

/// A request that is being sent: counted, and given up if that panics.
///
/// It owns nothing, and becomes what does only where it is kept: made any earlier that would be written twice, byte by byte,
/// and read at once as whole words, for which a processor waits.
#[must_use]
pub(crate) struct Sending<'a> {
    stats: &'a Arc<Stats>,
    started: Option<Moment>,
    answers: u32,
    probes: bool,
}

impl<'a> Sending<'a> {
    /// Starts to count a request, at `started` if time is measured.
    #[inline]
    pub(crate) fn start(stats: &'a Arc<Stats>, started: Option<Moment>, probes: bool) -> Self {
        stats.start();
        if let Some(started) = started {
            stats.owes(started);
        }
        Self { stats, started, answers: stats.answers(), probes }
    }

    /// It has been sent, and has come back unsent so often before.
    #[inline]
    pub(crate) fn sent(self, hand_backs: u8) -> InFlight {
        let call = self.in_flight(hand_backs);
        mem::forget(self);
        call
    }

    #[inline]
    fn in_flight(&self, hand_backs: u8) -> InFlight {
        let Self { stats, started, answers, probes } = *self;
        InFlight { stats: stats.clone(), started, answers, phase: Phase::Open, probes, hand_backs }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        drop(self.in_flight(0));
    }
}

impl InFlight {
    pub(crate) fn hand_backs(&self) -> u8 {
        self.hand_backs
    }

    /// Takes the latency: the first of an answer has come. Its end may take days, so another request may find out about a
    /// half-open endpoint meanwhile.
    #[inline]
    pub fn answered(&mut self) {
        if self.probes && self.phase == Phase::Open {
            self.stats.release_probe();
        }
        self.take_latency();
    }

    /// A message of the answer has come: enough for an endpoint that was to be found out about.
    #[inline]
    pub fn begins(&mut self) {
        self.end_probe(true);
    }

    #[inline]
    fn take_latency(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Answered;
        match self.started {
            Some(started) => self.took(started),
            None => self.stats.counts_answer(),
        }
    }

    fn took(&self, started: Moment) {
        let (latency, now) = self.since(started);
        self.stats.sample(latency, now);
        self.stats.timed(latency);
        self.stats.answered();
    }

    /// Takes what the endpoint says of its load, in headers or trailers.
    #[inline]
    pub(crate) fn load_report(&self, headers: &HeaderMap) {
        self.stats.load_report(headers);
    }

    /// Records how the endpoint did. The first word counts.
    #[inline]
    pub fn settle(&mut self, outcome: Outcome) {
        if !matches!(self.phase, Phase::Open | Phase::Answered) {
            return;
        }
        match outcome {
            Outcome::Success => {
                self.take_latency();
                self.phase = Phase::Well;
                self.stats.succeeded();
            }
            Outcome::Failure { hint, fault } => self.fail(hint, fault),
        }
        self.end_probe(outcome == Outcome::Success);
    }

    #[cold]
    fn fail(&mut self, hint: Option<Duration>, fault: Fault) {
        if self.phase == Phase::Open && self.stats.times().is_some() {
            self.elapsed().into_iter().for_each(|(latency, _)| self.stats.timed(latency));
        }
        self.waits_no_more();
        if self.phase == Phase::Open && fault != Fault::Local {
            self.stats.answered();
        }
        self.phase = Phase::Failed(fault);
        self.stats.failed(fault, hint, self.started.map(|_| self.stats.now()));
    }

    /// Ends the wait for an answer, if there was a wait and none has come.
    fn waits_no_more(&self) {
        if self.phase == Phase::Open && self.started.is_some() {
            self.stats.owes_no_more();
        }
    }

    /// Ends the count without a word on the endpoint: the request was handed back.
    pub(crate) fn handed_back(mut self) {
        self.waits_no_more();
        self.phase = Phase::HandedBack;
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The time from when it was started, and what time it is; none if time is not measured.
    fn elapsed(&self) -> Option<(u64, Moment)> {
        self.started.map(|started| self.since(started))
    }

    #[inline]
    fn since(&self, started: Moment) -> (u64, Moment) {
        let now = self.stats.now();
        (now.get().saturating_sub(started.get()), now)
    }

    #[inline]
    fn end_probe(&mut self, well: bool) {
        if self.probes {
            self.probes = false;
            self.stats.probed(well);
        }
    }

    /// Counts how it ended, as it did not end well.
    #[cold]
    fn end(&mut self) {
        self.waits_no_more();
        let ended = match self.phase {
            Phase::Failed(fault) => Ended::Failed(fault),
            Phase::Open if self.stats.unanswered(self.elapsed(), self.answers) => {
                self.end_probe(false);
                Ended::Failed(Fault::Local)
            }
            _ => Ended::Void,
        };
        if self.probes && self.phase != Phase::Answered {
            // Too early to tell: the next request may find out.
            self.stats.release_probe();
        }
        self.stats.ended(ended);
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        if self.phase != Phase::Well {
            self.end();
        }
        self.stats.finish();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use std::sync::Weak;

    use super::*;
    use crate::{
        Ejection,
        policy::{PeakEwma, Policy},
        settings::Settings,
        stats::Home,
    };

    fn stats() -> Arc<Stats> {
        let settings = Settings::new(PeakEwma::new().timing(), Ejection::default());
        let (reports, _) = tokio::sync::mpsc::unbounded_channel();
        Arc::new(Stats::new(1, "a".into(), Home::new(settings.into(), reports, Weak::<()>::new())))
    }

    #[test]
    fn a_request_that_is_never_sent_is_counted_no_more() {
        let stats = stats();
        let sending = Sending::start(&stats, Some(Moment::MIN), false);
        assert_eq!(stats.in_flight(), 1);
        drop(sending);
        assert_eq!((stats.in_flight(), stats.silence(1_000)), (0, 0));
    }

    #[test]
    fn a_request_waits_until_an_answer_begins_and_not_while_it_goes_on() {
        let stats = stats();
        let start = || Sending::start(&stats, Some(Moment::MIN), false).sent(0);
        let waits = || stats.silence(1_000) > 0;
        let mut streams = start();
        assert!(waits());
        streams.answered();
        assert!(!waits() && stats.in_flight() == 1, "its answer goes on for hours");
        let mut fails = start();
        assert!(waits());
        fails.settle(Outcome::BROKEN);
        assert!(!waits());
        let given_up = start();
        streams.settle(Outcome::Success);
        drop(streams);
        assert!(waits(), "the end of an answer is no answer to another");
        drop(given_up);
        assert!(!waits());
        start().handed_back();
        assert_eq!((waits(), stats.in_flight()), (false, 1));
    }

    #[test]
    fn one_that_is_given_up_early_says_something_only_where_the_one_before_it_failed() {
        let stats = stats();
        let start = || Sending::start(&stats, Some(stats.now()), false).sent(0);
        drop(start());
        assert_eq!(stats.failures(), 0);
        start().settle(Outcome::BROKEN);
        drop(start());
        assert_eq!(stats.failures(), 2);
    }
}
