//! The whole path of a request under random faults: real client, real server, HTTP/2, and between them a network,
//! a clock and a registry that a seed decides about.
//!
//! ```text
//! cargo test -p micro-tower --all-features --lib simulation
//! SIMULATION_SEEDS=17..18 cargo test -p micro-tower --all-features --lib simulation -- --nocapture
//! SIMULATION_SEEDS=0..5000 cargo test --release -p micro-tower --all-features --lib simulation
//! ```
//!
//! What is checked of each run is what must never be: a call carried out after its caller had an answer or gave up; one
//! that may not be repeated carried out twice; a call that outlives its deadline; an answer of a node that never
//! saw the call; a set of endpoints that a registry's trouble made empty; a handler, a count or a task that is
//! left over. And what must be: where one thing goes wrong at a time no call that may be repeated fails, and when all is
//! well again nothing fails and every node has its share.

mod ledger;
mod network;
mod node;
mod registry;
mod run;
mod schedule;

use self::{run::Run, schedule::Schedule};

/// Those that went wrong once.
const KNOWN: [u64; 7] = [49, 67, 145, 172, 173, 914, 2439];

/// Those that `SIMULATION_SEEDS` names, else a few and all that went wrong once.
fn seeds() -> Vec<u64> {
    let Ok(text) = std::env::var("SIMULATION_SEEDS") else { return (0..16).chain(KNOWN).collect() };
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.expect("SIMULATION_SEEDS is a range of numbers, as 0..1000").collect()
}

#[test]
fn what_must_never_be_is_not_whatever_goes_wrong() {
    let (mut calls, mut failed) = (0, 0);
    let seeds = seeds();
    let bad: Vec<String> = seeds
        .iter()
        .filter_map(|&seed| {
            let run = Run::of(&Schedule::of(seed));
            calls += run.calls;
            failed += run.failed;
            (!run.mistakes.is_empty()).then(|| {
                let schedule = Schedule::of(seed);
                format!(
                    "{schedule}\n{}\nagain: SIMULATION_SEEDS={seed}..{}",
                    run.mistakes.join("\n"),
                    seed + 1
                )
            })
        })
        .collect();
    println!("{} runs, {calls} calls, {failed} failed", seeds.len());
    let (shown, all) = (&bad[..bad.len().min(5)], bad.len());
    assert!(bad.is_empty(), "{all} runs went wrong, as\n{}", shown.join("\n\n"));
}

#[test]
fn a_seed_is_one_run_and_no_other() {
    let [first, second, other] = [1, 1, 3].map(|seed| Run::of(&Schedule::of(seed)).transcript);
    assert!(first == second, "one seed gave two runs");
    assert!(first != other, "two seeds gave one run");
}
