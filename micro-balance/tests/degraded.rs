//! Endpoints that are well enough where better ones do not suffice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use micro_balance::{
    Attributes, Balance, Ejection, Endpoint, State,
    eligible::{
        Priority,
        priority::{Level, Load},
    },
    health::{Condition, HealthCheck},
    policy::{Context, Policy, RoundRobin},
};
use support::{FAST, Fake, Mood, count, fakes, settle};
use tokio::time::{sleep, timeout};
use tower::{BoxError, ServiceExt};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Endpoints whose names begin with `d` are degraded, and those with a digit at their end have that priority.
fn by_name(name: &&'static str, _: &Fake) -> Attributes {
    let priority = name.chars().last().and_then(|last| last.to_digit(10)).unwrap_or(0);
    Attributes { degraded: name.starts_with('d'), priority, ..Attributes::default() }
}

async fn answers<P: Policy>(balance: &Balance<Fake, (), P>, times: usize) -> BTreeMap<&'static str, usize> {
    let mut answers = Vec::new();
    for _ in 0..times {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    count(answers)
}

fn states<P: Policy>(balance: &Balance<Fake, (), P>) -> Vec<State> {
    balance.endpoints().iter().map(|view| view.state).collect()
}

#[tokio::test(start_paused = true)]
async fn where_all_are_degraded_nobody_panics() {
    let (_fakes, _hand, changes) = fakes(["d", "dd"], FAST);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::new()).attributes(by_name).build();
    settle().await;
    assert_eq!(answers(&balance, 10).await, [("d", 5), ("dd", 5)].into());
    assert_eq!((balance.fallbacks().panic, balance.fallbacks().priority), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_degraded_endpoint_takes_what_is_too_much_for_the_others_and_no_more() {
    for priority in [Priority::failover(), Priority::proportional()] {
        let ([a, b, c, _d], _hand, changes) = fakes(["a", "b", "c", "d"], FAST);
        let balance: Balance<_, (), _> = Balance::builder(changes)
            .policy(RoundRobin::new())
            .priority(priority)
            .attributes(by_name)
            .seed(1)
            .build();
        settle().await;
        assert_eq!(states(&balance), [State::Ready, State::Ready, State::Ready, State::Degraded]);
        // Three of four are 105 % of what it takes.
        assert_eq!(answers(&balance, 30).await, [("a", 10), ("b", 10), ("c", 10)].into());
        assert_eq!(balance.fallbacks().degraded, 0);
        // Two are 70 %.
        a.set(Mood::Refuses);
        answers(&balance, 3).await;
        settle().await;
        let before = balance.fallbacks().degraded;
        let shares = answers(&balance, 10_000).await;
        assert!(shares["d"].abs_diff(3_000) < 200 && shares["b"].abs_diff(3_500) < 200, "{shares:?}");
        assert_eq!((balance.fallbacks().degraded - before) as usize, shares["d"]);
        b.set(Mood::Refuses);
        c.set(Mood::Refuses);
        answers(&balance, 3).await;
        settle().await;
        assert_eq!(answers(&balance, 10).await, [("d", 10)].into());
        // And as it was, once they are back.
        [a, b, c].iter().for_each(|fake| fake.set(FAST));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(answers(&balance, 30).await, [("a", 10), ("b", 10), ("c", 10)].into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_priority_that_is_well_goes_before_a_first_that_is_degraded() {
    for priority in [Priority::failover(), Priority::grpc(), Priority::proportional()] {
        let ([_a, b], _hand, changes) = fakes(["d", "b1"], FAST);
        let balance: Balance<_, (), _> = Balance::builder(changes)
            .policy(RoundRobin::new())
            .priority(priority)
            .attributes(by_name)
            .build();
        settle().await;
        assert_eq!(answers(&balance, 10).await, [("b1", 10)].into(), "{priority:?}");
        b.set(Mood::Refuses);
        answers(&balance, 1).await;
        settle().await;
        assert_eq!(answers(&balance, 10).await, [("d", 10)].into(), "{priority:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_degraded_first_priority_serves_while_the_second_has_yet_to_connect() {
    let ([_d, b], _hand, changes) = fakes(["d", "b1"], FAST);
    b.set(Mood::Connecting);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::new())
        .priority(Priority::grpc())
        .attributes(by_name)
        .build();
    settle().await;
    let answer = timeout(ms(100), balance.clone().oneshot(())).await;
    assert_eq!(answer.unwrap().unwrap(), "d");
    b.set(FAST);
    settle().await;
    assert_eq!(answers(&balance, 10).await, [("b1", 10)].into());
}

/// One level is divided by failover as Envoy divides it, by the same numbers.
#[test]
fn failover_divides_a_level_as_priorities_are_divided() {
    for (hosts, healthy, degraded) in
        [(10, 8, 2), (10, 3, 4), (10, 7, 3), (10, 0, 10), (3, 1, 1), (200, 0, 1)]
    {
        let level = Level { hosts, healthy, degraded, excluded: 0 };
        let load = |priority: Priority| priority.loads(&[level], 0)[0];
        let Load { healthy: well, degraded: rest, .. } = load(Priority::failover());
        assert_eq!(well + rest, 100);
        // Of one in two hundred there is less than a percent: Envoy divides by number then.
        if hosts < 200 {
            assert_eq!(load(Priority::failover()), load(Priority::proportional()), "{level:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_says_it_is_degraded_is_spared_until_it_says_otherwise() {
    let ([_a, _b, _c, _d], _hand, changes) = fakes(["a", "b", "c", "x"], FAST);
    let says = Arc::new(Mutex::new(Condition::Well));
    let word = says.clone();
    let check = move |fake: Fake| {
        let said = if fake.name() == "x" { *word.lock().unwrap() } else { Condition::Well };
        async move { Ok::<_, BoxError>(said) }
    };
    let schedule = HealthCheck::default().interval(ms(1_000)).jitter(0.0);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::new()).health_check(schedule, check).build();
    settle().await;
    assert_eq!(answers(&balance, 8).await["x"], 2);
    for (said, state) in [
        (Condition::Degraded, State::Degraded),
        (Condition::Well, State::Ready),
        (Condition::Degraded, State::Degraded),
        (Condition::Unwell, State::Unhealthy),
    ] {
        *says.lock().unwrap() = said;
        sleep(ms(1_010)).await;
        assert_eq!(states(&balance)[3], state, "a word counts at once");
        let shares = answers(&balance, 8).await;
        assert_eq!(shares.get("x").copied().unwrap_or(0), if said == Condition::Well { 2 } else { 0 });
    }
}

/// Sessions with `x`, and round robin.
#[derive(Debug)]
struct Loyal(RoundRobin, Arc<AtomicBool>);

impl Policy for Loyal {
    type Table = <RoundRobin as Policy>::Table;

    fn table(&self, endpoints: &[Endpoint]) -> Self::Table {
        self.0.table(endpoints)
    }

    fn pick(&self, table: &Self::Table, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.0.pick(table, endpoints, context)
    }

    fn keeps(&self, endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        endpoints.iter().position(|_| self.1.load(Relaxed))
    }
}

#[tokio::test(start_paused = true)]
async fn a_degraded_endpoint_goes_on_with_its_sessions() {
    let ([a, ..], hand, changes) = fakes(["a", "b", "c", "d", "e", "f"], FAST);
    let loyal = Arc::new(AtomicBool::new(true));
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(Loyal(RoundRobin::new(), loyal.clone()))
        .attributes(by_name)
        .ejection(Ejection::off())
        .build();
    settle().await;
    assert_eq!(answers(&balance, 4).await, [("d", 4)].into());
    // The same where a snapshot is made of the last one, as enough are well whoever goes.
    hand.remove("a");
    settle().await;
    assert_eq!(answers(&balance, 4).await, [("d", 4)].into());
    hand.insert("a", &a);
    settle().await;
    assert_eq!(answers(&balance, 4).await, [("d", 4)].into());
    loyal.store(false, Relaxed);
    assert_eq!(answers(&balance, 5).await.get("d"), None);
}
