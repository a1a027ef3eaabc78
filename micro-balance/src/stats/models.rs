//! The figures of one endpoint, in every order of what two threads do to them.

use std::{sync::Weak, time::Duration};

use loom::thread;
use tokio::sync::mpsc;

use super::*;
use crate::{
    classify::Fault,
    eject::{Ejection, Reason},
    ewma::{Rate, Timing},
    settings::Settings,
};

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
    let stats = Stats::new(1, "a".into(), Home::new(settings.into(), sender, Weak::<()>::new()));
    // Loom does not see that a `OnceLock` is filled before anybody reads it.
    stats.seldom();
    (Arc::new(stats), receiver)
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
fn loom_nobody_is_owed_an_answer_once_all_have_ended() {
    loom::model(|| {
        let (stats, _reports) = stats(5);
        let work = |stats: &Stats| {
            stats.owes(Moment::MIN);
            stats.owes_no_more();
        };
        race(&stats, work, work);
        assert_eq!(stats.silence(1_000), 0);
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
