//! The figures of one endpoint: what is in flight, how it fares, and whether requests may go there.
//!
//! They are kept by endpoint, not by set of endpoints, and survive every change around it.

use std::{
    any::Any,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use http::HeaderMap;
use tokio::sync::mpsc;

use crate::{
    atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    classify::Fault,
    clock::Moment,
    eject::{Reason, Rows, Window},
    ewma::{Ewma, nanos},
    load_report::{LoadReport, Reported},
    settings::Settings,
    times::Times,
};

/// Set in [`Stats::barred`] while the endpoint is not connected.
pub(crate) const LOST: u8 = 1;
/// Set in [`Stats::barred`] while the endpoint is ejected.
pub(crate) const EJECTED: u8 = 2;
/// Set in [`Stats::barred`] while the driver has yet to hear that the endpoint is failing; bars nothing.
const REPORTED: u8 = 4;
/// Set in [`Stats::barred`] while active checks find the endpoint unwell.
pub(crate) const UNWELL: u8 = 8;

/// The figures of one endpoint, written by requests and read by policies.
///
/// Two counters that only grow give the load without a counter that could get stuck: what started and did
/// not finish is in flight.
///
/// What every request reads or writes stands first, next to the reference count.
#[repr(C)]
pub(crate) struct Stats {
    started: AtomicU64,
    finished: AtomicU64,
    barred: AtomicU8,
    probing: AtomicBool,
    latency: Ewma,
    /// Failures in a row: see [`Rows`].
    rows: AtomicU64,
    failures: AtomicU64,
    /// What finished without a success since the driver took the count.
    ended: EndedCounts,
    serial: u64,
    reported: OnceLock<Box<Reported>>,
    /// How long answers took, if anybody wants to be told.
    times: Option<Box<Times>>,
    home: Arc<Home>,
}

/// What the endpoints of one balancer have in common.
pub(crate) struct Home {
    settings: Arc<Settings>,
    reports: mpsc::UnboundedSender<Report>,
    /// The balancer they belong to, for a request that comes back. Its type is the balancer's secret, so
    /// that figures and policies need not name it; weak, as the balancer holds its endpoints.
    balancer: Weak<dyn Any + Send + Sync>,
}

impl Home {
    pub(crate) fn new(
        settings: Arc<Settings>,
        reports: mpsc::UnboundedSender<Report>,
        balancer: Weak<dyn Any + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self { settings, reports, balancer })
    }
}

/// How a request ended that was no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a failure.
    Failed(Fault),
    /// Without a word on the endpoint: handed back, or given up early.
    Void,
}

#[derive(Debug, Default)]
struct EndedCounts {
    failed: AtomicU32,
    broken: AtomicU32,
    void: AtomicU32,
}

/// What a request tells the driver about an endpoint. An endpoint has at most one of each kind on the way,
/// so the queue is bounded by the number of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Its service was not ready when a request came.
    Lost(u64),
    /// It failed as often in a row as is allowed.
    Failing(u64, Reason),
    /// Active checks find it well, or not well, from now on.
    Checked(u64, bool),
    /// The one request let through while it is half open ended, well or not.
    Probed(u64, bool),
}

impl Stats {
    pub(crate) fn new(serial: u64, home: Arc<Home>) -> Self {
        let settings = &home.settings;
        Self {
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            latency: Ewma::new(settings.clock.now().get()),
            barred: AtomicU8::new(LOST),
            probing: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ended: EndedCounts::default(),
            serial,
            reported: OnceLock::new(),
            times: settings.times.then(|| Box::new(Times::new())),
            home,
        }
    }

    #[inline]
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// The balancer, if it is still there and of this type.
    pub(crate) fn home<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.home.balancer.upgrade()?.downcast().ok()
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u64 {
        // Finished is read first: what finishes in between only makes the difference larger, never negative.
        let finished = self.finished.load(Relaxed);
        self.started.load(Relaxed).saturating_sub(finished)
    }

    pub(crate) fn picks(&self) -> u64 {
        self.started.load(Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    #[inline]
    pub(crate) fn latency(&self) -> &Ewma {
        &self.latency
    }

    /// The time by the clock of the balancer.
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.home.settings.clock.now()
    }

    /// Whether a request may go here, where `mask` says which bars count.
    #[inline]
    pub(crate) fn is_open(&self, mask: u8) -> bool {
        self.barred.load(Relaxed) & mask == 0
    }

    pub(crate) fn bar(&self, bit: u8) {
        self.barred.fetch_or(bit, AcqRel);
    }

    pub(crate) fn unbar(&self, bit: u8) {
        self.barred.fetch_and(!bit, AcqRel);
    }

    /// Notes that the endpoint's service was not ready, once until the driver has seen to it.
    pub(crate) fn lost(&self) {
        if self.barred.fetch_or(LOST, AcqRel) & LOST == 0 {
            self.report(Report::Lost(self.serial));
        }
    }

    /// Takes the one permit of a half-open endpoint.
    pub(crate) fn try_probe(&self) -> bool {
        self.probing.compare_exchange(false, true, AcqRel, Acquire).is_ok()
    }

    pub(crate) fn release_probe(&self) {
        self.probing.store(false, Release);
    }

    pub(crate) fn probed(&self, well: bool) {
        self.report(Report::Probed(self.serial, well));
    }

    pub(crate) fn checked(&self, well: bool) {
        self.report(Report::Checked(self.serial, well));
    }

    /// Takes a report of load, if the policy wants it and there is one.
    #[inline]
    pub(crate) fn load_report(&self, headers: &HeaderMap) {
        if let Some(reports) = &self.home.settings.load_reports
            && let Some(weight) = reports.weight(headers)
        {
            self.weigh(weight);
        }
    }

    /// Takes a report of load that came by itself.
    pub(crate) fn load_reported(&self, report: &LoadReport) {
        let reports = self.home.settings.load_reports.as_ref();
        if let Some(weight) = reports.and_then(|reports| reports.weigh(report)) {
            self.weigh(weight);
        }
    }

    fn weigh(&self, weight: f64) {
        self.reported.get_or_init(Box::default).record(weight, self.now().get());
    }

    /// The weight that the endpoint's own reports give it, if they count.
    pub(crate) fn reported(&self, blackout: Duration, expiration: Duration) -> Option<f64> {
        self.reported.get()?.weight(self.now().get(), blackout, expiration)
    }

    /// Forgets reports from before a new connection.
    pub(crate) fn restart_reports(&self) {
        self.reported.get().into_iter().for_each(|reported| reported.restart());
    }

    /// Starts over with a clean record, as after ejection.
    pub(crate) fn forgive(&self) {
        self.break_row();
        self.latency.reset(self.now().get());
    }

    #[inline]
    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    #[inline]
    pub(crate) fn finish(&self) {
        self.finished.fetch_add(1, Relaxed);
    }

    /// Counts how a request ended that was no success; before it is counted as finished.
    #[cold]
    pub(crate) fn ended(&self, how: Ended) {
        let count = match how {
            Ended::Failed(Fault::Local) => &self.ended.broken,
            Ended::Failed(_) => &self.ended.failed,
            Ended::Void => &self.ended.void,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Takes what happened since this was asked last. `counted` is how many requests have been accounted
    /// for: what finished beyond them and is nothing else was a success, which costs its request no counter.
    pub(crate) fn take_window(&self, counted: &mut u64) -> Window {
        let finished = self.finished.load(Relaxed);
        let take = |count: &AtomicU32| count.swap(0, Relaxed);
        let (failed, broken, void) =
            (take(&self.ended.failed), take(&self.ended.broken), take(&self.ended.void));
        // What is about to finish may be counted here already; it is no success next time either.
        let others = *counted + u64::from(failed) + u64::from(broken) + u64::from(void);
        let well = finished.saturating_sub(others);
        *counted = others + well;
        let latency = self.latency.value(self.now().get(), self.home.settings.rate);
        Window { well: u32::try_from(well).unwrap_or(u32::MAX), failed, broken, latency }
    }

    /// Takes the time to an answer for the figures.
    #[inline]
    pub(crate) fn timed(&self, latency: u64) {
        if let Some(times) = &self.times {
            times.record(latency);
        }
    }

    /// How long answers took, if that is kept.
    pub(crate) fn times(&self) -> Option<&Times> {
        self.times.as_deref()
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
        if self.is_failing() {
            self.break_row();
        }
    }

    #[inline]
    fn is_failing(&self) -> bool {
        Rows::of(self.rows.load(Relaxed)) != Rows::NONE
    }

    /// Starts to count failures in a row anew.
    pub(crate) fn break_row(&self) {
        self.rows.store(Rows::NONE.word(), Relaxed);
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
    /// whether it was the endpoint's fault.
    ///
    /// A caller may change its mind at any time. Only a wait of at least half the usual latency, or one
    /// that follows a failure, says something about the endpoint.
    pub(crate) fn unanswered(&self, waited: Option<(u64, Moment)>) -> bool {
        if let (Some(timing), Some((waited, now))) = (&self.home.settings.timing, waited) {
            let usual = self.latency.last().unwrap_or(nanos(timing.default_latency) as f32);
            if waited as f32 * 2.0 < usual && !self.is_failing() {
                return false;
            }
            self.sample(waited, now);
        }
        self.count_failure(Fault::Local);
        true
    }

    fn count_failure(&self, fault: Fault) {
        self.failures.fetch_add(1, Relaxed);
        let ejection = &self.home.settings.ejection;
        let mut word = self.rows.load(Relaxed);
        let rows = loop {
            let rows = Rows::of(word).after(fault, ejection.is_apart());
            match self.rows.compare_exchange_weak(word, rows.word(), Relaxed, Relaxed) {
                Ok(_) => break rows,
                Err(other) => word = other,
            }
        };
        if let Some(reason) = ejection.in_a_row(rows)
            && self.barred.fetch_or(REPORTED, AcqRel) & REPORTED == 0
        {
            self.report(Report::Failing(self.serial, reason));
        }
    }

    /// Lets the endpoint be reported as failing once more; it is still failing if it has been since.
    pub(crate) fn heard(&self) {
        self.unbar(REPORTED);
    }

    fn report(&self, report: Report) {
        // Without a driver there is nobody to tell, and nothing left to decide.
        let _ = self.home.reports.send(report);
    }
}

#[cfg(all(test, micro_loom))]
mod loom_tests {
    use loom::thread;

    use super::*;
    use crate::{Ejection, ewma::Rate, policy::Timing};

    fn stats(failures: u32) -> (Arc<Stats>, mpsc::UnboundedReceiver<Report>) {
        let timing = Timing {
            decay: Duration::from_secs(10),
            default_latency: Duration::from_millis(30),
            penalty: Duration::from_secs(5),
            recovers: false,
        };
        let ejection = Ejection::default().consecutive_failures(failures);
        let settings = Settings::new(Some(timing), ejection);
        let (sender, receiver) = mpsc::unbounded_channel();
        (Arc::new(Stats::new(1, Home::new(settings.into(), sender, Weak::<()>::new()))), receiver)
    }

    /// Runs `first` and `second` at once, in every order of their steps.
    fn race(stats: &Arc<Stats>, first: fn(&Stats), second: fn(&Stats)) {
        let other = stats.clone();
        let thread = thread::spawn(move || second(&other));
        first(stats);
        thread.join().unwrap();
    }

    #[test]
    fn loom_what_is_in_flight_is_never_negative_and_ends_at_none() {
        loom::model(|| {
            let (stats, _reports) = stats(5);
            let work = |stats: &Stats| {
                stats.start();
                assert!((1..=2).contains(&stats.in_flight()));
                stats.finish();
            };
            race(&stats, work, work);
            assert_eq!((stats.in_flight(), stats.picks()), (0, 2));
        });
    }

    #[test]
    fn loom_a_half_open_endpoint_lets_one_request_through() {
        loom::model(|| {
            let (stats, mut reports) = stats(5);
            let work = |stats: &Stats| {
                if stats.try_probe() {
                    stats.probed(true);
                }
            };
            race(&stats, work, work);
            assert!(reports.try_recv().is_ok() && reports.try_recv().is_err());
            stats.release_probe();
            assert!(stats.try_probe());
        });
    }

    #[test]
    fn loom_a_lost_endpoint_is_reported_once() {
        loom::model(|| {
            let (stats, mut reports) = stats(5);
            stats.unbar(LOST);
            race(&stats, Stats::lost, Stats::lost);
            assert_eq!(reports.try_recv(), Ok(Report::Lost(1)));
            assert!(reports.try_recv().is_err() && !stats.is_open(LOST));
        });
    }

    #[test]
    fn loom_failures_in_a_row_are_counted_and_reported_once() {
        loom::model(|| {
            let (stats, mut reports) = stats(2);
            let fail = |stats: &Stats| stats.failed(Fault::Server, None, None);
            race(&stats, fail, fail);
            assert_eq!(reports.try_recv(), Ok(Report::Failing(1, Reason::Failures)));
            assert!(reports.try_recv().is_err());
            assert_eq!(stats.failures(), 2);
        });
    }

    #[test]
    fn loom_every_failure_is_in_one_window_and_none_turns_into_a_success() {
        loom::model(|| {
            let (stats, _reports) = stats(5);
            stats.start();
            let mut counted = 0;
            let other = stats.clone();
            let thread = thread::spawn(move || {
                other.ended(Ended::Failed(Fault::Server));
                other.finish();
            });
            let first = stats.take_window(&mut counted);
            thread.join().unwrap();
            let second = stats.take_window(&mut counted);
            assert_eq!((first.failed + second.failed, first.well + second.well, counted), (1, 0, 1));
        });
    }

    #[test]
    fn loom_a_peak_is_never_lost_to_a_lower_sample() {
        loom::model(|| {
            let (stats, _reports) = stats(5);
            race(
                &stats,
                |stats| stats.sample(400_000_000, Moment::MIN),
                |stats| stats.sample(100_000_000, Moment::MIN),
            );
            let value = stats.latency().value(1, Rate::of(Duration::from_secs(10)));
            assert!(value.unwrap() > 399e6);
        });
    }
}
