//! A snapshot that is made of the one before it is the one that would have been made anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use micro_balance::{
    Attributes, Balance, Ejection, Endpoint, State,
    policy::{Context, Policy, Ring, RingHash, Turnover},
};
use proptest::prelude::*;
use support::{FAST, Fake, Mood, discovery, settle};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// How many endpoints there may be.
const MOST: usize = 400;

/// A ring that is compared with one made anew whenever it is updated.
#[derive(Clone, Debug)]
struct Compared {
    policy: RingHash,
    updates: Arc<AtomicUsize>,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Compared {
    fn new() -> Self {
        let policy = RingHash::with_points(48).unwrap();
        Self { policy, updates: Arc::default(), wrong: Arc::default() }
    }

    fn blame(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

impl Policy for Compared {
    type Table = (Ring, Vec<String>);

    fn table(&self, endpoints: &[Endpoint]) -> Self::Table {
        if !endpoints.is_sorted_by(|a, b| a.id() < b.id()) {
            self.blame(format!("not in order: {endpoints:?}"));
        }
        (self.policy.table(endpoints), endpoints.iter().map(|endpoint| endpoint.id().to_owned()).collect())
    }

    fn update(&self, before: &Self::Table, turnover: &Turnover<'_>) -> Option<Self::Table> {
        let ids: Vec<_> = turnover.before().iter().map(Endpoint::id).collect();
        if ids != before.1 {
            self.blame(format!("made of {:?}, updated from {ids:?}", before.1));
        }
        let anew = self.table(turnover.after());
        let stay = |endpoints: &[Endpoint], changed: BTreeSet<usize>| -> Vec<String> {
            let stays = |(index, endpoint): (usize, &Endpoint)| {
                (!changed.contains(&index)).then(|| endpoint.id().to_owned())
            };
            endpoints.iter().enumerate().filter_map(stays).collect()
        };
        let (left, joined) = (turnover.left().map(|it| it.0), turnover.joined().map(|it| it.0));
        if stay(turnover.before(), left.collect()) != stay(turnover.after(), joined.collect()) {
            self.blame(format!("not what happened: {turnover:?}"));
        }
        let ring = self.policy.update(&before.0, turnover)?;
        self.updates.fetch_add(1, Relaxed);
        if !ring.points().eq(anew.0.points()) {
            self.blame(format!("another ring after {turnover:?}"));
        }
        Some((ring, anew.1))
    }

    fn pick(&self, table: &Self::Table, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.policy.pick(&table.0, endpoints, context)
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// With this weight, and degraded or not.
    Insert(usize, u32, bool),
    Remove(usize),
    Fails(usize),
    Recovers(usize),
    /// A handle keeps the snapshot that is current.
    Hold,
    Pause,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..MOST, 1_u32..3, 0..8).prop_map(|(which, weight, n)| Step::Insert(which, weight, n == 0)),
        3 => (0..MOST).prop_map(Step::Remove),
        2 => (0..MOST).prop_map(Step::Fails),
        2 => (0..MOST).prop_map(Step::Recovers),
        1 => Just(Step::Hold),
        4 => Just(Step::Pause),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Endpoints and services are two lists, which are changed alike.
fn is_served_by_itself(balance: &Balance<Fake, (), Compared>) {
    let mut handle = balance.clone();
    for _ in 0..MOST {
        if let Some((endpoint, service)) = handle.pick(None) {
            assert_eq!(endpoint.id(), service.name());
        }
    }
}

async fn live(names: &[&'static str], steps: &[Step], updates: &AtomicUsize) {
    let (hand, changes) = discovery();
    let fakes: Vec<_> = names.iter().map(|name| Fake::new(name, FAST)).collect();
    let policy = Compared::new();
    let said = Arc::new(Mutex::new(vec![(1_u32, false); MOST]));
    let described = said.clone();
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(policy.clone())
        .ejection(Ejection::off())
        .attributes(move |name: &&'static str, _: &Fake| {
            let (weight, degraded) = described.lock().unwrap()[name[1..].parse::<usize>().unwrap()];
            Attributes { weight, degraded, ..Attributes::default() }
        })
        .seed(1)
        .build();
    let mut present: BTreeSet<usize> = (0..MOST / 2).collect();
    let mut failing = BTreeSet::new();
    present.iter().for_each(|&index| hand.insert(names[index], &fakes[index]));
    settle().await;
    let mut handles = Vec::new();
    for step in steps {
        match *step {
            Step::Insert(index, weight, degraded) => {
                present.insert(index);
                said.lock().unwrap()[index] = (weight, degraded);
                hand.insert(names[index], &fakes[index]);
            }
            Step::Remove(index) => {
                present.remove(&index);
                hand.remove(names[index]);
            }
            Step::Fails(index) => {
                failing.insert(index);
                fakes[index].set(Mood::Refuses);
                // Somebody has to find out.
                for _ in 0..3 {
                    let _ = timeout(Duration::from_millis(10), balance.clone().oneshot(())).await;
                }
            }
            Step::Recovers(index) => {
                failing.remove(&index);
                fakes[index].set(FAST);
            }
            Step::Hold => {
                let mut handle = balance.clone();
                let _ = handle.pick(None);
                handles.push(handle);
            }
            Step::Pause => settle().await,
        }
    }
    is_served_by_itself(&balance);
    fakes.iter().for_each(|fake| fake.set(FAST));
    // Longer than any wait between attempts to connect.
    sleep(Duration::from_secs(5)).await;
    let seen: Vec<_> = balance.endpoints().iter().map(|view| (view.id.to_string(), view.state)).collect();
    let state = |index: usize| if said.lock().unwrap()[index].1 { State::Degraded } else { State::Ready };
    let expected: Vec<_> = present.iter().map(|&index| (names[index].to_owned(), state(index))).collect();
    assert_eq!(seen, expected);
    let well = expected.iter().filter(|(_, state)| *state == State::Ready).count();
    let suffice = well * 140 >= present.len() * 100;
    assert_eq!(balance.ready_endpoints(), if suffice { well } else { present.len() });
    is_served_by_itself(&balance);
    assert_eq!(*policy.wrong.lock().unwrap(), Vec::<String>::new());
    updates.fetch_add(policy.updates.load(Relaxed), Relaxed);
}

#[test]
fn a_snapshot_made_of_the_last_one_is_the_one_made_anew() {
    let names: Vec<&'static str> = (0..MOST).map(|n| &*format!("e{n:03}").leak()).collect();
    let updates = AtomicUsize::new(0);
    let config = ProptestConfig {
        cases: 32,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runner
        .run(&steps(), |steps| {
            runtime.block_on(live(&names, &steps, &updates));
            Ok(())
        })
        .unwrap();
    assert!(updates.load(Relaxed) > 50, "the quick way was hardly taken: {updates:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_removed_is_let_go_of_though_its_snapshot_may_be_used_again() {
    let names = ["a", "b", "c", "d"];
    let (hand, changes) = discovery();
    let fakes = names.map(|name| Fake::new(name, FAST));
    names.iter().zip(&fakes).for_each(|(name, fake)| hand.insert(name, fake));
    let balance: Balance<_, ()> = Balance::builder(changes).seed(1).build();
    for _ in 0..8 {
        balance.clone().oneshot(()).await.unwrap();
    }
    for (name, fake) in names.iter().zip(&fakes).take(3) {
        assert!(fake.clones() > 0);
        hand.remove(name);
        sleep(Duration::from_millis(50)).await;
        assert_eq!(fake.clones(), 0, "{name} is held by somebody");
        balance.clone().oneshot(()).await.unwrap();
    }
    // A handle that uses the old snapshot until its next request must not hold it for longer.
    let mut handle = balance.clone();
    let _ = handle.pick(None);
    hand.insert("a", &fakes[0]);
    sleep(Duration::from_millis(50)).await;
    hand.remove("a");
    sleep(Duration::from_millis(50)).await;
    let _ = handle.pick(None);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(fakes[0].clones(), 0);
}
