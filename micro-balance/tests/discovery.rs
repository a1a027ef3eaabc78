//! Whatever discovery says, in whatever order, the balancer ends up with what it said last.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use micro_balance::{
    Balance, Endpoint, NotSent, State,
    policy::{Context, Policy, RoundRobin},
};
use proptest::prelude::*;
use support::{FAST, Fake, Mood, discovery, settle};
use tower::ServiceExt;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, bool),
    Remove(usize),
    /// The endpoint of this name, if there is one, can be reached or not from now on.
    Turn(usize, bool),
    Request,
    /// Lets the driver catch up.
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..NAMES.len(), any::<bool>()).prop_map(|(name, up)| Step::Insert(name, up)),
        2 => (0..NAMES.len()).prop_map(Step::Remove),
        2 => (0..NAMES.len(), any::<bool>()).prop_map(|(name, up)| Step::Turn(name, up)),
        2 => Just(Step::Request),
        2 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..40)
}

fn mood(up: bool) -> Mood {
    if up { FAST } else { Mood::Refuses }
}

async fn run(steps: Vec<Step>) {
    let (hand, changes) = discovery();
    let balance = Balance::builder(changes).policy(RoundRobin::starting_at(0)).seed(1).build();
    let mut model: BTreeMap<&str, Fake> = BTreeMap::new();
    let mut up: BTreeMap<&str, bool> = BTreeMap::new();
    let mut waiting = Vec::new();
    hand.remove("");
    for step in steps {
        match step {
            Step::Insert(n, is_up) => {
                // A name that is there already is a record that has changed.
                let fake = model.entry(NAMES[n]).or_insert_with(|| Fake::new(NAMES[n], mood(is_up)));
                fake.set(mood(is_up));
                hand.insert(NAMES[n], fake);
                up.insert(NAMES[n], is_up);
            }
            Step::Remove(n) => {
                hand.remove(NAMES[n]);
                model.remove(NAMES[n]);
                up.remove(NAMES[n]);
            }
            Step::Turn(n, is_up) => {
                if let Some(fake) = model.get(NAMES[n]) {
                    fake.set(mood(is_up));
                    up.insert(NAMES[n], is_up);
                }
            }
            Step::Request => waiting.push(tokio::spawn(balance.clone().oneshot(()))),
            Step::Settle => settle().await,
        }
    }
    // Longer than the longest wait between two attempts to connect, and than the failfast limit.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for request in waiting {
        if let Err(error) = request.await.expect("no request panics") {
            assert!(NotSent::is(error.as_ref()), "a request was lost: {error}");
        }
    }
    // Requests find out about endpoints that were lost while idle.
    let reachable: Vec<_> = up.iter().filter(|(_, up)| **up).map(|(name, _)| *name).collect();
    for _ in 0..2 * NAMES.len() {
        let answer = balance.clone().oneshot(()).await;
        match &answer {
            Ok(name) => assert!(reachable.contains(name), "{name} cannot have answered"),
            Err(error) => assert!(reachable.is_empty(), "{error} though {reachable:?} are there"),
        }
    }
    settle().await;
    let known: Vec<_> = balance.endpoints().iter().map(|view| view.id.to_string()).collect();
    assert_eq!(known, model.keys().copied().collect::<Vec<_>>());
    let ready = balance.endpoints().into_iter().filter(|view| view.state == State::Ready);
    assert_eq!(ready.map(|view| view.id.to_string()).collect::<Vec<_>>(), reachable);
    assert!(balance.endpoints().iter().all(|view| view.in_flight == 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_ends_with_the_set_discovery_named_last(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime needs nothing but memory").block_on(run(steps));
    }
}

/// Takes a while to work out its table, whoever asks for it.
struct Slow(Arc<AtomicUsize>);

impl Policy for Slow {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {
        self.0.fetch_add(1, Relaxed);
        std::thread::sleep(WORK);
    }

    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        Some(0)
    }
}

const WORK: Duration = Duration::from_millis(10);

/// In real time, which is all that a table takes.
#[tokio::test]
async fn to_follow_changes_that_never_end_takes_a_fifth_of_the_time_at_most() {
    let made = Arc::new(AtomicUsize::new(0));
    let ([first, second], hand, changes) = support::fakes(["a", "b"], FAST);
    let balance = Balance::builder(changes).policy(Slow(made.clone())).seed(1).build();
    balance.clone().oneshot(()).await.unwrap();
    let (before, start) = (made.load(Relaxed), Instant::now());
    for _ in 0..200 {
        hand.remove("a");
        hand.insert("a", &first);
        hand.insert("b", &second);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (tables, most) = (made.load(Relaxed) - before, start.elapsed().as_millis() / (5 * WORK).as_millis());
    assert!((1..=most + 2).contains(&(tables as u128)), "{tables} tables, not {most}");
}
