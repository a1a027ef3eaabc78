//! Every policy through random lives of its endpoints.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "support/policies.rs"]
mod policies;
mod support;

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use micro_balance::{Attributes, Balance, Ejection, eligible::Priority};
use proptest::prelude::*;
use support::{FAST, Fake, Mood, discovery};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Endpoints of the first priority, of the second, and one that is drained.
const NAMES: [&str; 6] = ["a", "b", "c", "second", "third", "drained"];

fn attributes(name: &str) -> Attributes {
    let attributes = Attributes { weight: name.len() as u32, ..Attributes::default() };
    match name {
        "second" | "third" => Attributes { priority: 1, ..attributes },
        "drained" => Attributes { weight: 0, ..attributes },
        _ => attributes,
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(usize),
    Remove(usize),
    Mood(usize, Mood),
    Abandon(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..NAMES.len();
    let mood = prop_oneof![
        3 => Just(FAST),
        1 => Just(Mood::Refuses),
        1 => Just(Mood::Connecting),
        1 => Just(Mood::Answers(Duration::from_millis(30))),
    ];
    let step = prop_oneof![
        3 => which.clone().prop_map(Step::Insert),
        1 => which.clone().prop_map(Step::Remove),
        4 => (which, mood).prop_map(|(which, mood)| Step::Mood(which, mood)),
        1 => (0_u64..40).prop_map(Step::Abandon),
    ];
    proptest::collection::vec(step, 1..12)
}

/// Who can take requests.
fn able(present: &BTreeSet<usize>, moods: &[Mood]) -> BTreeSet<&'static str> {
    let can = |index: &&usize| matches!(moods[**index], Mood::Answers(_));
    present.iter().filter(can).map(|&index| NAMES[index]).collect()
}

/// Who may take requests: those of the first priority that can, of the next, or in need the drained one.
fn eligible(present: &BTreeSet<usize>, moods: &[Mood]) -> BTreeSet<&'static str> {
    let able = able(present, moods);
    for group in [&NAMES[..3], &NAMES[3..5], &NAMES[5..]] {
        let group: BTreeSet<_> = able.iter().copied().filter(|name| group.contains(name)).collect();
        if !group.is_empty() {
            return group;
        }
    }
    BTreeSet::new()
}

async fn live(name: &str, steps: &[Step]) {
    let (hand, changes) = discovery();
    let fakes = NAMES.map(|name| Fake::new(name, FAST));
    let (mut moods, mut present) = ([FAST; 6], BTreeSet::new());
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(policies::configured(name).policy.build())
        .ejection(Ejection::off())
        .priority(Priority::failover())
        .attributes(|name: &&'static str, _: &Fake| attributes(name))
        .seed(1)
        .build();
    for step in steps {
        match *step {
            Step::Insert(index) => {
                present.insert(index);
                hand.insert(NAMES[index], &fakes[index]);
            }
            Step::Remove(index) => {
                present.remove(&index);
                hand.remove(NAMES[index]);
            }
            Step::Mood(index, mood) => {
                moods[index] = mood;
                fakes[index].set(mood);
            }
            Step::Abandon(after) => {
                let requests = (0..5).map(|_| balance.clone().oneshot(()));
                let _ = timeout(Duration::from_millis(after), join_all(requests)).await;
            }
        }
        // Who is lost is noticed by a request, and who is back by the next attempt to connect.
        let _ = timeout(Duration::from_millis(50), balance.clone().oneshot(())).await;
        sleep(Duration::from_secs(4)).await;
        let _ = timeout(Duration::from_millis(50), balance.clone().oneshot(())).await;
        sleep(Duration::from_millis(300)).await;
        // One that is kept is not left for a better one; all others choose anew each time.
        let eligible = match name {
            "pick_first" => able(&present, &moods),
            _ => eligible(&present, &moods),
        };
        for _ in 0..if eligible.is_empty() { 0 } else { 5 } {
            let answer = balance.clone().oneshot(()).await;
            let answer = answer.unwrap_or_else(|error| panic!("{name}: {error:?} while {eligible:?} could"));
            assert!(eligible.contains(answer), "{name}: {answer} while {eligible:?} could");
        }
    }
    sleep(Duration::from_secs(1)).await;
    assert!(balance.endpoints().iter().all(|view| view.in_flight == 0), "{name}: {balance:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_policy_sends_a_request_to_one_that_may_not_have_it_or_forgets_one(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        for name in policies::ALL {
            runtime.block_on(live(name, &steps));
        }
    }
}
