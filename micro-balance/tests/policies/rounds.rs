//! Round robin through changes of the set.

use std::collections::BTreeMap;

use micro_balance::{
    Balance,
    policy::{OverrideHost, Policy, RoundRobin, Source},
};
use serde_json::Value;
use tower::ServiceExt;

use crate::endpoints::Set;
use crate::support::{FAST, Fake, discovery, fakes, settle};

async fn turns<const N: usize, P: Policy>(balance: &Balance<Fake, (), P>) -> [&'static str; N] {
    let mut turns = [""; N];
    for turn in &mut turns {
        *turn = balance.clone().oneshot(()).await.unwrap();
    }
    turns
}

#[tokio::test(start_paused = true)]
async fn a_change_goes_on_with_who_would_have_been_next() {
    let (_fakes, hand, changes) = fakes(["b", "c", "d", "e"], FAST);
    let policy = RoundRobin::starting_at(0);
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(policy).seed(1).build();
    assert_eq!(turns(&balance).await, ["b", "c"]);
    // Before, at and after the place of the next.
    for (name, next) in [("b", ["d", "e", "c"]), ("d", ["e", "c", "e"])] {
        hand.remove(name);
        settle().await;
        assert_eq!(turns(&balance).await, next, "without {name}");
    }
    for (name, next) in [("a", ["c", "e", "a"]), ("d", ["c", "d", "e"])] {
        hand.insert(name, &Fake::new(name, FAST));
        settle().await;
        assert_eq!(turns(&balance).await, next, "with {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_node_has_its_share_as_in_go_micros_test() {
    let table = include_str!("../data/gomicro_selectors.json");
    let test = serde_json::from_str::<Value>(table).unwrap()["round_robin"]["test"].take();
    let number = |name: &str| test[name].as_u64().unwrap() as usize;
    let set = Set::weighing(&vec![1; number("nodes")]).await;
    let share = number("picks") / number("nodes");
    assert!(set.shares(&RoundRobin::new(), number("picks")).iter().all(|picks| *picks == share));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_skipped_or_favoured_while_the_set_changes() {
    turns_go_on(RoundRobin::starting_at(5)).await;
    turns_go_on(OverrideHost::new(RoundRobin::starting_at(5)).by(Source::Extension)).await;
}

async fn turns_go_on(policy: impl Policy) {
    let (hand, changes) = discovery();
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let fakes = names.map(|name| Fake::new(name, FAST));
    names.iter().zip(&fakes).for_each(|(name, fake)| hand.insert(name, fake));
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(policy).seed(1).build();
    settle().await;
    let mut counts = BTreeMap::<_, usize>::new();
    for round in 0..60 {
        // Two come and go all the time, five stay.
        for (place, name) in [(1, "b"), (5, "f")] {
            if (round + place) % 2 == 0 {
                hand.remove(name);
            } else {
                hand.insert(name, &fakes[place]);
            }
        }
        settle().await;
        for turn in turns::<3, _>(&balance).await {
            *counts.entry(turn).or_default() += 1;
        }
    }
    let stayed = ["a", "c", "d", "e", "g"].map(|name| counts[name]);
    let (least, most) = (stayed.iter().min().unwrap(), stayed.iter().max().unwrap());
    assert!(most - least <= 1, "{counts:?}");
}

#[test]
fn eight_threads_that_pick_at_once_give_everybody_as_much() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (_hand, balance) = runtime.block_on(async {
        let (_fakes, hand, changes) = fakes(["a", "b", "c", "d", "e"], FAST);
        let balance: Balance<_, (), _> = Balance::builder(changes).policy(RoundRobin::new()).build();
        settle().await;
        (hand, balance)
    });
    // Nothing but picks, and many: two that read the same turn are to meet.
    let picks = |mut balance: Balance<Fake, (), RoundRobin>| {
        let mut counts = [0; 5];
        for _ in 0..50_000 {
            let (endpoint, _) = balance.pick(None).unwrap();
            counts[usize::from(endpoint.id().as_bytes()[0] - b'a')] += 1;
        }
        counts
    };
    let counts = std::thread::scope(|scope| {
        let threads = [(); 8].map(|()| {
            let balance = balance.clone();
            scope.spawn(move || picks(balance))
        });
        threads.into_iter().fold([0; 5], |sum, thread| {
            let counts = thread.join().unwrap();
            std::array::from_fn(|place| sum[place] + counts[place])
        })
    });
    assert_eq!(counts, [80_000; 5]);
}
