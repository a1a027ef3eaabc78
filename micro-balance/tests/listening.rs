//! Who is listened to beside the requests, and for how long that counts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::BufMut;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use micro_balance::{Balance, LoadReport, Reporter, Reports, policy::OrcaWeighted};
use prost::Message;
use support::{FAST, Fake, Mood, discovery, fakes, settle};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, ServiceExt};

/// Notes who is asked, and hears of each once a second what it has to say, unless it is mute.
#[derive(Clone, Default)]
struct Ears {
    asked: Arc<Mutex<Vec<&'static str>>>,
    mute: Arc<AtomicBool>,
}

impl Ears {
    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| **asked == name).count()
    }
}

/// Ten requests a second by a tenth of an endpoint, or by all of it.
fn report(name: &str) -> LoadReport {
    let mut message = Vec::new();
    for (field, number) in [(6, 10.0), (9, if name == "a" { 1.0 } else { 0.1 })] {
        message.put_u8(field << 3 | 1);
        message.put_f64_le(number);
    }
    LoadReport::decode(&*message).unwrap()
}

impl Reporter<Fake> for Ears {
    fn reports(&self, service: Fake) -> BoxFuture<'static, Result<Reports, BoxError>> {
        self.asked.lock().unwrap().push(service.name());
        let speaks = !self.mute.load(Relaxed);
        let reports = stream::repeat(()).then(move |()| {
            let report = report(service.name());
            async move {
                sleep(Duration::from_secs(1)).await;
                Ok(report)
            }
        });
        async move { Ok(speaks.then(|| reports.boxed())) }.boxed()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_the_place_of_another_is_listened_to_and_the_other_no_more() {
    let (ears, (hand, changes)) = (Ears::default(), discovery());
    let first = Fake::new("first", FAST);
    hand.insert("a", &first);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(OrcaWeighted::new()).load_reporter(ears.clone()).build();
    settle().await;
    assert_eq!((ears.asked("first"), ears.asked("second")), (1, 0));
    let second = Fake::new("second", FAST);
    hand.insert("a", &second);
    sleep(Duration::from_secs(5)).await;
    assert_eq!((ears.asked("first"), ears.asked("second")), (1, 1));
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "second");
    assert_eq!(first.clones(), 0, "nobody listens to it");
    hand.remove("a");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(second.clones(), 0, "nor to this one, which is gone");
}

#[tokio::test(start_paused = true)]
async fn one_without_reports_is_asked_again_when_it_is_connected_anew() {
    let (ears, ([a, b], _hand, changes)) = (Ears::default(), fakes(["a", "b"], FAST));
    ears.mute.store(true, Relaxed);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(OrcaWeighted::new()).load_reporter(ears.clone()).build();
    sleep(Duration::from_secs(300)).await;
    assert_eq!((ears.asked("a"), ears.asked("b")), (1, 1), "once, however long it is connected");
    // It may be another version that comes up there.
    ears.mute.store(false, Relaxed);
    for mood in [Mood::Refuses, FAST] {
        b.set(mood);
        for _ in 0..4 {
            balance.clone().oneshot(()).await.unwrap();
        }
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!((ears.asked("a"), ears.asked("b")), (1, 2));
    // Who is listened to is not asked beside that.
    for mood in [Mood::Refuses, FAST] {
        [&a, &b].iter().for_each(|fake| fake.set(mood));
        let _ = timeout(Duration::from_millis(10), balance.clone().oneshot(())).await;
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!((ears.asked("a"), ears.asked("b")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_reported_before_an_outage_does_not_count_until_it_has_been_reported_for_a_while_again() {
    let (ears, ([_a, b], _hand, changes)) = (Ears::default(), fakes(["a", "b"], FAST));
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(OrcaWeighted::new()).load_reporter(ears).build();
    let share = async || {
        b.take_calls();
        for _ in 0..110 {
            balance.clone().oneshot(()).await.unwrap();
        }
        b.take_calls()
    };
    sleep(Duration::from_secs(13)).await;
    assert!(share().await.abs_diff(100) <= 2, "ten times as much");
    b.set(Mood::Refuses);
    assert_eq!(share().await, 0);
    sleep(Duration::from_secs(3)).await;
    b.set(FAST);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(share().await, 55, "as much: what is known is of the time before");
    sleep(Duration::from_secs(11)).await;
    assert!(share().await.abs_diff(100) <= 2, "ten times as much again");
}

/// Says so many reports whenever it is asked, and ends.
#[derive(Clone, Default)]
struct Broken {
    asked: Arc<Mutex<Vec<Instant>>>,
    says: Arc<AtomicUsize>,
}

impl Reporter<Fake> for Broken {
    fn reports(&self, service: Fake) -> BoxFuture<'static, Result<Reports, BoxError>> {
        self.asked.lock().unwrap().push(Instant::now());
        let reports = stream::iter((0..self.says.load(Relaxed)).map(move |_| Ok(report(service.name()))));
        async move { Ok(Some(reports.boxed())) }.boxed()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

#[tokio::test(start_paused = true)]
async fn who_ends_its_reports_is_asked_less_and_less_until_it_reports_again() {
    let (broken, (_fakes, _hand, changes)) = (Broken::default(), fakes(["a"], FAST));
    let _balance: Balance<_, (), _> =
        Balance::builder(changes).policy(OrcaWeighted::new()).load_reporter(broken.clone()).build();
    let waits = async |seconds| {
        broken.asked.lock().unwrap().clear();
        sleep(Duration::from_secs(seconds)).await;
        let asked = broken.asked.lock().unwrap();
        asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect::<Vec<_>>()
    };
    let near = |wait: f64, expected: f64| (0.79..=1.21).contains(&(wait / expected));
    let grow = waits(60).await;
    assert!(grow.len() > 5 && (0..).zip(&grow).all(|(n, &wait)| near(wait, 1.6_f64.powi(n))), "{grow:?}");
    let differ = grow.iter().zip(0..).any(|(wait, n)| (wait / 1.6_f64.powi(n) - 1.0).abs() > 0.02);
    assert!(differ, "not to the clock: {grow:?}");
    sleep(Duration::from_secs(600)).await;
    let most = waits(1_000).await;
    assert!(most.len() > 3 && most.iter().all(|&wait| near(wait, 120.0)), "{most:?}");
    broken.says.store(1, Relaxed);
    sleep(Duration::from_secs(300)).await;
    let again = waits(30).await;
    assert!(again.len() > 20 && again.iter().all(|&wait| near(wait, 1.0)), "{again:?}");
}
