//! What requests tell of an endpoint: that they start and end, how long it took and how it went.

use std::time::Duration;

use super::{Ended, Report, Stats, load::REPORTED};
use crate::{
    classify::Fault,
    clock::Moment,
    eject::{Reason, Window},
    ewma::nanos,
    last_words::is_listening,
    times::Times,
};

impl Stats {
    #[inline]
    pub(crate) fn start(&self) {
        self.load.start();
    }

    #[inline]
    pub(crate) fn finish(&self) {
        self.load.finish();
    }

    /// Notes that a request waits for an answer from `now` on.
    #[inline]
    pub(crate) fn owes(&self, now: Moment) {
        self.owed.begin(now);
    }

    /// Notes that a request that waited does so no longer, for whatever reason.
    pub(crate) fn owes_no_more(&self) {
        self.owed.end();
    }

    /// Notes that an answer has come.
    #[inline]
    pub(crate) fn answered(&self) {
        self.owed.answered();
    }

    /// The same where no time is measured, which is known without a look.
    #[inline]
    pub(crate) fn counts_answer(&self) {
        self.owed.count();
    }

    /// What differs after an answer, where latencies are not measured.
    #[inline]
    pub(crate) fn answers(&self) -> u32 {
        self.owed.answers()
    }

    /// Counts how a request ended that was no success; before it is counted as finished.
    #[cold]
    pub(crate) fn ended(&self, how: Ended) {
        self.seldom().ended(how);
    }

    /// Takes what happened since this was asked last. `counted` is how many requests have been accounted
    /// for: what finished beyond them and is nothing else was a success, which costs its request no counter.
    pub(crate) fn take_window(&self, counted: &mut u32) -> Window {
        let counts = self.counts();
        let unwell = self.seldom.get().map(|seldom| seldom.take()).unwrap_or_default();
        // The lower bits tell how many more there are than before. What is about to finish may be counted here
        // already; it is no success next time either.
        let others = counted.wrapping_add(unwell.sum());
        let more = ((counts.picks - counts.in_flight) as u32).wrapping_sub(others);
        let well = if more >> 31 == 0 { more } else { 0 };
        *counted = others.wrapping_add(well);
        let latency = self.latency.value(self.now().get(), self.home.settings.rate);
        Window { well, failed: unwell.failed, broken: unwell.broken, latency }
    }

    /// Takes the time to an answer for the figures.
    #[inline]
    pub(crate) fn timed(&self, latency: u64) {
        if let Some(times) = self.times() {
            times.record(latency);
        }
    }

    /// How long answers took, if that is kept.
    #[inline]
    pub(crate) fn times(&self) -> Option<&Times> {
        self.seldom.get()?.times.as_ref()
    }

    /// Takes the time to an answer, or the time waited in vain.
    #[inline]
    pub(crate) fn sample(&self, latency: u64, now: Moment) {
        if let Some(timing) = &self.home.settings.timing {
            self.latency.record(latency, now.get(), self.home.settings.rate, timing.recovers);
        }
    }

    #[inline]
    pub(crate) fn succeeded(&self) {
        if self.record.is_failing() {
            self.break_row();
        }
    }

    /// Starts to count failures in a row anew.
    pub(crate) fn break_row(&self) {
        self.record.break_row();
    }

    /// Has a row of failures that came to nothing begin anew, and says which other one is long enough.
    pub(crate) fn spare(&self, reason: Reason) -> Option<Reason> {
        self.home.settings.ejection.in_a_row(self.record.spare(reason)?)
    }

    /// Counts a failure. It costs the policy's penalty, or `hint` if that is longer: a fast failure must
    /// never look fast.
    #[cold]
    pub(crate) fn failed(&self, fault: Fault, hint: Option<Duration>, now: Option<Moment>) {
        if let (Some(timing), Some(now)) = (&self.home.settings.timing, now) {
            self.sample(nanos(timing.penalty.max(hint.unwrap_or_default())), now);
        }
        self.count_failure(fault);
    }

    /// Counts a request that was given up before any answer came, after `waited` if that is known, and says
    /// whether it was the endpoint's fault. There had been `answers` when it began.
    ///
    /// A caller may change its mind at any time. Only a wait of at least half the usual latency, or one
    /// that follows a failure, says something about the endpoint; where there is no usual one, silence towards
    /// everybody, or a wait that was over by a limit.
    pub(crate) fn unanswered(&self, waited: Option<(u64, Moment)>, answers: u32) -> bool {
        if let (Some(timing), Some((waited, now))) = (&self.home.settings.timing, waited) {
            let usual = self.latency.last().unwrap_or(nanos(timing.default_latency) as f32);
            if waited as f32 * 2.0 < usual && !self.record.is_failing() {
                return false;
            }
            self.sample(waited, now);
        } else if self.answers() != answers && !is_listening() {
            return false;
        }
        self.count_failure(Fault::Local);
        true
    }

    fn count_failure(&self, fault: Fault) {
        self.seldom().fail();
        let ejection = &self.home.settings.ejection;
        let rows = self.record.fail(fault, ejection.is_apart());
        if let Some(reason) = ejection.in_a_row(rows)
            && self.load.bar(REPORTED)
        {
            self.home.report(Report::Failing(self.serial, reason));
        }
    }
}
