//! How often snapshots are made, and at what cost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{self, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use micro_balance::{
    Balance, Endpoint,
    eligible::SlowStart,
    policy::{Context, Policy, RoundRobin},
};
use support::{FAST, fakes};
use tokio::{
    sync::mpsc,
    time::{Instant, advance, sleep},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{Service, discover::Change};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Notes when its table was made.
#[derive(Clone, Debug, Default)]
struct Anew {
    made: Arc<Mutex<Vec<Instant>>>,
    every: Option<Duration>,
    /// How long it takes.
    takes: Duration,
}

impl Policy for Anew {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {
        self.made.lock().unwrap().push(Instant::now());
        // It moves the clock when it is first polled.
        advance(self.takes).now_or_never();
    }

    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        Some(0)
    }

    fn refresh(&self) -> Option<Duration> {
        self.every
    }
}

/// So that clients that learnt of a change at the same moment do not look at loads in step.
#[tokio::test(start_paused = true)]
async fn a_table_is_made_anew_after_its_time_a_quarter_more_or_less() {
    let (_fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let policy = Anew { every: Some(secs(1)), ..Anew::default() };
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(policy.clone()).seed(1).build();
    sleep(secs(200)).await;
    let made = policy.made.lock().unwrap().clone();
    let waits: Vec<_> = made.windows(2).skip(3).map(|two| (two[1] - two[0]).as_millis()).collect();
    assert!(waits.iter().all(|wait| (749..=1_252).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|&wait| wait < 800) && waits.iter().any(|&wait| wait > 1_200), "{waits:?}");
    drop(balance);
}

#[tokio::test(start_paused = true)]
async fn weights_are_worked_out_while_somebody_is_new_and_no_longer() {
    let ([a, _b], hand, changes) = fakes(["a", "b"], FAST);
    hand.remove("a");
    let policy = Anew::default();
    let made = || policy.made.lock().unwrap().len();
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(policy.clone()).slow_start(SlowStart::new(secs(10))).build();
    for _ in ["alone", "beside who is new no more"] {
        let before = made();
        sleep(secs(9)).await;
        assert!(made() >= before + 5, "{} after {before}", made());
        sleep(secs(11)).await;
        let warm = made();
        sleep(secs(100)).await;
        assert_eq!(made(), warm);
        hand.insert("a", &a);
    }
    drop(balance);
}

#[tokio::test(start_paused = true)]
async fn snapshots_that_take_long_are_made_a_fifth_of_the_time_however_much_changes() {
    let ([_a, b], hand, changes) = fakes(["a", "b"], FAST);
    let policy = Anew { takes: Duration::from_millis(10), ..Anew::default() };
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(policy.clone()).build();
    for _ in 0..500 {
        hand.remove("b");
        sleep(Duration::from_millis(1)).await;
        hand.insert("b", &b);
        sleep(Duration::from_millis(1)).await;
    }
    let made = policy.made.lock().unwrap().clone();
    let waits: Vec<_> = made.windows(2).skip(3).map(|two| (two[1] - two[0]).as_millis()).collect();
    assert!(waits.len() > 10 && waits.iter().all(|wait| (50..=53).contains(wait)), "{waits:?}");
    drop(balance);
}

/// Counts how often it is copied, whichever it is.
#[derive(Debug)]
struct Copied(Arc<AtomicUsize>);

impl Clone for Copied {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Relaxed);
        Self(self.0.clone())
    }
}

impl Service<()> for Copied {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_costs_what_has_changed_and_not_what_there_is() {
    let copies = Arc::new(AtomicUsize::new(0));
    let (hand, changes) = mpsc::unbounded_channel();
    let balance: Balance<_, (), _> =
        Balance::builder(UnboundedReceiverStream::new(changes)).policy(RoundRobin::new()).build();
    let change = async |change| {
        let before = copies.load(Relaxed);
        hand.send(Ok::<_, Infallible>(change)).unwrap();
        sleep(Duration::from_millis(50)).await;
        copies.load(Relaxed) - before
    };
    for id in 0..500 {
        hand.send(Ok(Change::Insert(id, Copied(copies.clone())))).unwrap();
    }
    // The first two changes are to get arrays of their own.
    for id in 500..502 {
        change(Change::Insert(id, Copied(copies.clone()))).await;
    }
    let came = change(Change::Insert(502, Copied(copies.clone()))).await;
    let went = change(Change::Remove(250)).await;
    assert!(came < 20 && went < 20, "{came} and {went} of 500 copied");
    drop(balance);
}
