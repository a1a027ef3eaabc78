//! Each step of eligibility beside the tables that others publish, and all of them together.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use micro_balance::{
    Attributes, Balance, Ejection, NotSent, State, TooFewWell,
    eligible::{
        Fallbacks, Locality, Priority, SlowStart, Subset,
        locality::{Prefer, ZoneAware, ZoneWeights, Zones, effective_weight},
        priority::Level,
    },
    health::{Condition, HealthCheck},
    policy::{
        EarliestDeadlineFirst, LeastRequest, Load, PeakEwma, Prequal, Random, RoundRobin, WeightedRoundRobin,
    },
};
use serde_json::Value;
use support::{FAST, Fake, Mood, count, discovery, fakes, settle};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn numbers(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

fn zones(counts: &Value) -> Zones {
    let counts = counts.as_object().unwrap().iter();
    counts.map(|(zone, count)| (zone.clone(), count.as_u64().unwrap() as u32)).collect()
}

#[test]
fn priorities_share_as_envoys_do() {
    let data = data(include_str!("data/envoy_priority.json"));
    for row in data["rows"].as_array().unwrap() {
        let level = |level: &Value| match numbers(level)[..] {
            [hosts, healthy, degraded, excluded] => Level { hosts, healthy, degraded, excluded },
            _ => panic!("four numbers"),
        };
        let levels: Vec<_> = row["levels"].as_array().unwrap().iter().map(level).collect();
        let number = |name: &str, default| row[name].as_u64().unwrap_or(default) as u32;
        let priority = Priority::proportional().overprovisioning(number("overprovisioning", 140));
        let loads = priority.loads(&levels, number("threshold", 50));
        assert_eq!(loads.iter().map(|load| load.healthy).collect::<Vec<_>>(), numbers(&row["load"]), "{row}");
        if row["degraded"].is_array() {
            let degraded: Vec<_> = loads.iter().map(|load| load.degraded).collect();
            assert_eq!(degraded, numbers(&row["degraded"]), "{row}");
        }
        if let Some(panic) = row["panic"].as_array() {
            let panics: Vec<_> = loads.iter().map(|load| Value::from(load.panic)).collect();
            assert_eq!(&panics, panic, "{row}");
        }
    }
}

#[test]
fn a_level_with_degraded_endpoints_comes_before_one_with_nobody_and_without_panic_nobody_well_is_by_number() {
    let level = |hosts, degraded| Level { hosts, healthy: 0, degraded, excluded: 0 };
    let levels = [level(2, 0), level(2, 2)];
    let shares = |priority: Priority, levels: &[Level], panic| -> Vec<_> {
        priority.loads(levels, panic).iter().map(|it| (it.healthy, it.degraded, it.panic)).collect()
    };
    assert_eq!(shares(Priority::failover(), &levels, 50), [(0, 0, false), (0, 100, false)]);
    let levels = [level(3, 0), level(1, 0)];
    assert_eq!(shares(Priority::proportional(), &levels, 0), [(75, 0, false), (25, 0, false)]);
    assert_eq!(shares(Priority::proportional(), &levels, 50), [(75, 0, true), (25, 0, true)]);
}

proptest::proptest! {
    #[test]
    fn priorities_share_all_requests_and_give_none_to_nobody(
        counts in proptest::collection::vec((0_u32..50, 0_u32..50, 0_u32..50), 1..8),
        panic in 0_u32..=100,
    ) {
        let level = |&(a, b, c): &(u32, u32, u32)| Level { hosts: a + b + c, healthy: a, degraded: b, excluded: 0 };
        let levels: Vec<_> = counts.iter().map(level).collect();
        for priority in [Priority::failover(), Priority::proportional()] {
            let loads = priority.loads(&levels, panic);
            let total: u32 = loads.iter().map(|load| load.healthy + load.degraded).sum();
            let anybody = levels.iter().any(|level| level.hosts > 0);
            proptest::prop_assert_eq!(total, if anybody { 100 } else { 0 });
            for (load, level) in loads.iter().zip(&levels) {
                proptest::prop_assert!(level.hosts > 0 || load.healthy + load.degraded == 0);
            }
        }
    }
}

#[test]
fn zones_are_routed_to_as_envoy_routes() {
    let data = data(include_str!("data/envoy_zone_aware.json"));
    let route = |case: &Value, zone: &str| {
        ZoneAware::new(zone, zones(&case["local"])).least(0).route(&zones(&case["upstream"]))
    };
    for (name, zone) in [("residual", "A"), ("no_matching", "A")] {
        let case = &data[name];
        let route = route(case, zone).unwrap();
        assert_eq!(route.local, 0, "{name}");
        if case["cumulative"].is_array() {
            let ends: Vec<_> = route.residual.iter().map(|&(_, end)| end as u32).collect();
            assert_eq!(ends, numbers(&case["cumulative"]));
        }
        for pick in case["picks"].as_array().unwrap() {
            assert_eq!(route.residual(pick["rand"].as_u64().unwrap()), pick["zone"].as_str(), "{pick}");
        }
    }
    let case = &data["force_local"];
    for row in case["cases"].as_array().unwrap() {
        let aware = ZoneAware::new("A", zones(&case["local"])).least(0);
        let aware = match row["min_size"].as_u64() {
            Some(least) => aware.force_local(least as u32),
            None => aware,
        };
        let route = aware.route(&zones(&case["upstream"])).unwrap();
        assert_eq!(route.local == 10_000, row["mode"].as_str().unwrap().starts_with("direct"), "{row}");
    }
    let case = &data["no_capacity"];
    let route = route(case, "A").unwrap();
    assert!(route.local < 10_000);
    // By rounding no zone has room to spare: any of them.
    assert_eq!([route.residual(0), route.residual(1)], [Some("A"), Some("B")]);
}

#[test]
fn zones_that_only_some_have_are_routed_to_as_envoy_routes() {
    let data = data(include_str!("data/envoy_zones_apart.json"));
    for row in data["routes"].as_array().unwrap() {
        let aware = ZoneAware::new(row["zone"].as_str().unwrap(), zones(&row["local"]));
        let aware = aware.least(row["least"].as_u64().unwrap() as usize);
        let route = aware.route(&zones(&row["upstream"]));
        assert_eq!(route.as_ref().map(|route| route.local), row["stays"].as_u64(), "{row}");
        for pick in row["picks"].as_array().unwrap_or(&Vec::new()) {
            let zone = route.as_ref().unwrap().residual(pick[0].as_u64().unwrap());
            assert_eq!(zone, pick[1].as_str(), "{pick} of {row}");
        }
    }
}

#[test]
fn a_zone_of_which_none_is_left_counts_for_nothing() {
    let of = |counts: &[(&str, u32)]| {
        counts.iter().map(|&(zone, count)| (zone.to_owned(), count)).collect::<Zones>()
    };
    let (both, one) = (of(&[("a", 3), ("b", 3), ("c", 0)]), of(&[("a", 6), ("b", 0)]));
    let routed = |peers: &Zones, endpoints: &Zones| {
        ["a", "c"].map(|own| ZoneAware::new(own, peers.clone()).route(endpoints).is_some())
    };
    assert_eq!(routed(&both, &both), [true, false], "nobody like this client is in its zone");
    assert_eq!(routed(&one, &both), [false, false], "all clients are in one zone");
    assert_eq!(routed(&both, &one), [false, false], "all endpoints are in one zone");
    let alike = ZoneAware::new("a", both.clone()).route(&both).unwrap();
    assert_eq!((alike.local, alike.residual), (10_000, vec![]), "nobody has to leave");
}

#[test]
fn zones_are_not_told_apart_where_that_would_not_be_fair() {
    let zones = |counts: &[(&str, u32)]| -> Zones {
        counts.iter().map(|&(zone, count)| (zone.to_owned(), count)).collect()
    };
    let peers = zones(&[("A", 2), ("B", 2)]);
    let aware = ZoneAware::new("A", peers.clone());
    assert_eq!(aware.route(&zones(&[("A", 6)])), None, "one zone");
    assert_eq!(aware.route(&zones(&[("A", 2), ("B", 3)])), None, "five endpoints");
    assert_eq!(aware.route(&zones(&[("A", 3), ("B", 3)])).unwrap().local, 10_000);
    assert_eq!(ZoneAware::new("C", peers).route(&zones(&[("A", 3), ("B", 3)])), None, "no peer here");
    let empty = |here, there| ZoneAware::new("A", zones(&[("A", here), ("B", there)]));
    assert_eq!(empty(0, 2).route(&zones(&[("A", 3), ("B", 3)])), None, "none here");
    assert_eq!(empty(2, 0).route(&zones(&[("A", 3), ("B", 3)])), None, "none there");
    assert_eq!(aware.route(&zones(&[("A", 6), ("B", 0)])), None, "a zone without endpoints is none");
    let forced =
        |least, here| empty(3, 1).force_local(least).route(&zones(&[("A", here), ("B", 5), ("C", 5)]));
    assert_eq!(forced(2, 2).unwrap().local, 10_000, "as many as it takes");
    assert!(forced(2, 1).unwrap().local < 10_000);
    assert_eq!(forced(0, 0).unwrap().local, 0, "there is nobody to stay with");
}

#[test]
fn a_random_subset_is_the_one_that_grpc_takes() {
    let data = data(include_str!("data/grpc_random_subsetting.json"));
    for case in data["cases"].as_array().unwrap() {
        let ids: Vec<_> = (0..case["endpoints"].as_u64().unwrap()).map(|n| format!("endpoint-{n}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let subset = Subset::random(case["size"].as_u64().unwrap() as usize).seed(0);
        for (subset, expected) in [(subset, &case["raw"]), (subset.as_grpc_go(), &case["go"])] {
            let mut expected = numbers(expected);
            expected.sort_unstable();
            let chosen: Vec<_> = subset.choose(&ids).into_iter().map(|index| index as u32).collect();
            assert_eq!(chosen, expected, "{case}");
        }
    }
}

#[test]
fn a_subset_of_nobody_is_one_of_one() {
    let names = ["a", "b", "c"];
    let sizes = [Subset::random(0), Subset::deterministic(0, 5)].map(|subset| subset.choose(&names).len());
    assert_eq!(sizes, [1, 1]);
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("10.0.{}.{}:80", n / 250, n % 250)).collect()
}

#[test]
fn one_endpoint_more_or_less_changes_one_member_at_most() {
    let all = names(100);
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    for seed in 0..50 {
        let subset = Subset::random(20).seed(seed);
        let before: Vec<_> = subset.choose(&all).into_iter().map(|index| all[index]).collect();
        for gone in 0..100 {
            let fewer: Vec<_> = all.iter().copied().filter(|id| *id != all[gone]).collect();
            let after: Vec<_> = subset.choose(&fewer).into_iter().map(|index| fewer[index]).collect();
            let lost = before.iter().filter(|id| !after.contains(id)).count();
            assert!(lost <= 1 && after.len() == 20);
        }
    }
}

#[test]
fn clients_with_random_subsets_load_servers_as_evenly_as_chance_does() {
    for (clients, servers, size) in [(100, 100, 25), (2_000, 10, 5), (500, 50, 20)] {
        let ids = names(servers);
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut connections = vec![0_f64; servers];
        for seed in 0..clients {
            Subset::random(size)
                .seed(seed)
                .choose(&ids)
                .into_iter()
                .for_each(|index| connections[index] += 1.0);
        }
        let part = size as f64 / servers as f64;
        let mean = clients as f64 * part;
        let variance = connections.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / servers as f64;
        let bound = 1.5 * ((1.0 - part) / mean).sqrt();
        assert!(variance.sqrt() / mean <= bound, "{} of {bound}", variance.sqrt() / mean);
        assert!(connections.iter().all(|&count| count >= 1.0));
    }
}

#[test]
fn numbered_clients_load_servers_alike() {
    for (clients, servers, size, expected) in [(100, 100, 25, 25..=25), (310, 295, 10, 9..=11)] {
        let ids = names(servers);
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut connections = vec![0; servers];
        for client in 0..clients {
            let members = Subset::deterministic(size, client).choose(&ids);
            assert_eq!(members.len(), size);
            members.into_iter().for_each(|index| connections[index] += 1);
        }
        assert!(connections.iter().all(|count| expected.contains(count)), "{connections:?}");
    }
}

#[test]
fn slow_start_gives_the_part_that_envoy_gives() {
    let data = data(include_str!("data/envoy_edf_wrr_slowstart.json"));
    for case in data["slow_start"]["cases"].as_array().unwrap() {
        let seconds = |name: &str| Duration::from_secs(case[name].as_u64().unwrap());
        let slow_start = SlowStart::new(seconds("window"))
            .aggression(case["aggression"].as_f64().unwrap_or(1.0))
            .unwrap()
            .min_percent(case["min_weight_percent"].as_u64().unwrap_or(10) as u32);
        let factor = slow_start.factor(seconds("t"));
        assert!((factor - case["factor"].as_f64().unwrap()).abs() < 5e-3, "{factor}: {case}");
    }
    let defaults = &data["slow_start"]["defaults"];
    let (window, least) = (Duration::from_secs(60), defaults["min_weight_percent"].as_f64().unwrap());
    let plain = SlowStart::new(window);
    assert_eq!(plain.factor(Duration::ZERO), least / 100.0);
    let aggression = plain.aggression(defaults["aggression"].as_f64().unwrap()).unwrap();
    assert_eq!(plain.factor(window / 3), aggression.factor(window / 3));
}

/// Two endpoints, the second of this age: Envoy's test.
#[tokio::test(start_paused = true)]
async fn a_new_endpoint_is_due_when_it_is_in_envoy() {
    let data = data(include_str!("data/envoy_edf_wrr_slowstart.json"));
    for case in data["slow_start"]["cases"].as_array().unwrap() {
        let Some(order) = case["seq"].as_array() else { continue };
        let seconds = |name: &str| Duration::from_secs(case[name].as_u64().unwrap());
        let ([_a], hand, changes) = fakes(["a"], FAST);
        let slow_start =
            SlowStart::new(seconds("window")).aggression(case["aggression"].as_f64().unwrap_or(1.0)).unwrap();
        let balance: Balance<_, (), _> = Balance::builder(changes)
            .policy(EarliestDeadlineFirst::starting_at(0))
            .slow_start(slow_start)
            .build();
        sleep(seconds("window") * 2).await;
        hand.insert("b", &Fake::new("b", FAST));
        // Weights are looked at a hundred times a window: the last time was not long ago.
        sleep(seconds("t") + ms(500)).await;
        let mut sent = Vec::new();
        for _ in order {
            let answer = balance.clone().oneshot(()).await.unwrap();
            sent.push(Value::from(u64::from(answer == "b")));
        }
        assert_eq!(&sent, order, "{case}");
    }
}

#[test]
fn a_zone_that_is_not_well_gets_less_as_in_envoy() {
    let data = data(include_str!("data/envoy_locality_weighted.json"));
    for row in data["failover"].as_array().unwrap() {
        let first = effective_weight(1, row["healthy"].as_u64().unwrap() as u32, 5, 140);
        let share = 100.0 * first / (first + effective_weight(2, 1, 1, 140));
        assert!((share - f64::from(numbers(&row["picks"])[0])).abs() < 1.0, "{share}: {row}");
    }
}

type Hand = support::Hand;

/// Endpoints `a`… with attributes by name, behind `set up`.
fn attributes(of: &'static [(&'static str, Attributes)]) -> impl Fn(&&'static str, &Fake) -> Attributes {
    let of: BTreeMap<_, _> = of.iter().map(|(name, attributes)| (*name, attributes)).collect();
    move |name, _| of[name].clone()
}

fn leak(list: Vec<(&'static str, Attributes)>) -> &'static [(&'static str, Attributes)] {
    Box::leak(list.into_boxed_slice())
}

fn at(priority: u32) -> Attributes {
    Attributes { priority, ..Attributes::default() }
}

fn inside(zone: &str) -> Attributes {
    Attributes { zone: Some(zone.into()), ..Attributes::default() }
}

async fn answers<P: micro_balance::policy::Policy>(
    balance: &Balance<Fake, (), P>,
    count: usize,
) -> BTreeMap<&'static str, usize> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    self::count(answers)
}

#[tokio::test(start_paused = true)]
async fn a_half_well_priority_leaves_the_rest_to_the_next() {
    let ([_a, b, _c, _d], _hand, changes) = fakes(["a", "b", "c", "d"], FAST);
    b.set(Mood::Refuses);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(Random)
        .seed(1)
        .priority(Priority::proportional())
        .attributes(attributes(leak(vec![("a", at(0)), ("b", at(0)), ("c", at(1)), ("d", at(1))])))
        .build();
    settle().await;
    let shares = answers(&balance, 10_000).await;
    assert!(shares["a"].abs_diff(7_000) < 200 && shares["c"].abs_diff(1_500) < 200, "{shares:?}");
    let fallen = balance.fallbacks().priority;
    assert_eq!(fallen as usize, shares["c"] + shares["d"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_priority_is_stood_in_for_by_the_next_and_comes_back() {
    let ([a, _b], _hand, changes) = fakes(["a", "b"], FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::new())
        .attributes(attributes(leak(vec![("a", at(0)), ("b", at(1))])))
        .build();
    assert_eq!(answers(&balance, 10).await, [("a", 10)].into());
    a.set(Mood::Refuses);
    assert_eq!(answers(&balance, 10).await, [("b", 10)].into());
    assert!(balance.fallbacks().priority >= 9);
    a.set(FAST);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(answers(&balance, 10).await, [("a", 10)].into());
}

#[tokio::test(start_paused = true)]
async fn a_preferred_zone_takes_all_until_too_little_of_it_is_well() {
    let ([a, b, _c], _hand, changes) = fakes(["a", "b", "c"], FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::new())
        .locality(Locality::Prefer(Prefer::new("near")))
        .attributes(attributes(leak(vec![
            ("a", inside("near")),
            ("b", inside("near")),
            ("c", inside("far")),
        ])))
        .build();
    settle().await;
    assert_eq!(answers(&balance, 10).await, [("a", 5), ("b", 5)].into());
    a.set(Mood::Refuses);
    sleep(Duration::from_millis(10)).await;
    let _ = answers(&balance, 2).await;
    settle().await;
    assert_eq!(answers(&balance, 10).await, [("b", 10)].into());
    assert_eq!(balance.fallbacks().locality, 0);
    b.set(Mood::Refuses);
    assert_eq!(answers(&balance, 10).await, [("c", 10)].into());
    assert!(balance.fallbacks().locality >= 9);
}

#[tokio::test(start_paused = true)]
async fn zones_share_by_weight_and_each_is_balanced_within() {
    let (_fakes, _hand, changes) = fakes(["a", "b", "c"], FAST);
    let weights = ZoneWeights::new([("one", 1), ("two", 3)]);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(LeastRequest)
        .seed(3)
        .locality(Locality::Weighted(weights))
        .attributes(attributes(leak(vec![("a", inside("one")), ("b", inside("two")), ("c", inside("two"))])))
        .build();
    settle().await;
    let shares = answers(&balance, 8_000).await;
    assert!(shares.values().zip([2_000, 3_000, 3_000]).all(|(n, want)| n.abs_diff(want) < 200), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn no_request_leaves_a_zone_that_has_its_part_of_the_endpoints() {
    let (_fakes, _hand, changes) = fakes(["a", "b", "c", "d", "e", "f"], FAST);
    let peers: Zones = [("A".to_owned(), 1), ("B".to_owned(), 1)].into();
    let list = ["a", "b", "c"].map(|name| (name, inside("A"))).into_iter();
    let list = list.chain(["d", "e", "f"].map(|name| (name, inside("B")))).collect();
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::new())
        .locality(Locality::ZoneAware(ZoneAware::new("A", peers)))
        .attributes(attributes(leak(list)))
        .build();
    settle().await;
    assert_eq!(answers(&balance, 30).await, [("a", 10), ("b", 10), ("c", 10)].into());
}

/// Envoy's ZoneAwareResidualsMismatched, by requests: 3750 of 10 000 stay, and the others go where there is room.
#[tokio::test(start_paused = true)]
async fn no_more_requests_leave_a_zone_than_it_takes_to_load_all_alike() {
    let names = ["a", "c", "d", "e", "f", "g", "h", "i"];
    let zones = ["A", "C", "C", "C", "D", "D", "D", "E"];
    let peers: Zones = [("A", 2), ("B", 2), ("C", 1), ("D", 1)].map(|(zone, n)| (zone.to_owned(), n)).into();
    // Of half of the requests, where zones are minded for half.
    for percent in [100, 50, 0] {
        let (_fakes, _hand, changes) = fakes(names, FAST);
        let list = names.iter().zip(zones).map(|(name, zone)| (*name, inside(zone))).collect();
        let aware = ZoneAware::new("A", peers.clone()).percent(percent);
        let balance: Balance<_, (), _> = Balance::builder(changes)
            .policy(Random)
            .seed(5)
            .locality(Locality::ZoneAware(aware))
            .attributes(attributes(leak(list)))
            .build();
        settle().await;
        let shares = answers(&balance, 20_000).await;
        let of = |zone| {
            names.iter().zip(zones).filter(|it| it.1 == zone).map(|it| shares[it.0]).sum::<usize>() as f64
        };
        for (zone, routed, any) in [
            ("A", 0.375_f64, 0.125),
            ("C", 0.625 * 0.3847, 0.375),
            ("D", 0.625 * 0.3847, 0.375),
            ("E", 0.625 * 0.2307, 0.125),
        ] {
            let minded = f64::from(percent) / 100.0;
            let part = routed * minded + any * (1.0 - minded);
            let (expected, three_sigmas) = (20_000.0 * part, 3.0 * (20_000.0 * part * (1.0 - part)).sqrt());
            assert!((of(zone) - expected).abs() < three_sigmas, "{zone}: {} of {expected}", of(zone));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn drained_endpoints_take_requests_only_if_there_are_no_others() {
    let ([_a, b], _hand, changes) = fakes(["a", "b"], FAST);
    let drained = Attributes { weight: 0, ..Attributes::default() };
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::new())
        .attributes(attributes(leak(vec![("a", drained), ("b", Attributes::default())])))
        .build();
    settle().await;
    assert_eq!(answers(&balance, 10).await, [("b", 10)].into());
    assert_eq!(balance.fallbacks().drained, 0);
    b.set(Mood::Refuses);
    assert_eq!(answers(&balance, 10).await, [("a", 10)].into());
    assert!(balance.fallbacks().drained >= 9);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_counted_where_no_step_gives_way() {
    let (_fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(RoundRobin::new()).build();
    assert_eq!(answers(&balance, 10).await, [("a", 5), ("b", 5)].into());
    assert_eq!(balance.fallbacks(), Fallbacks::default());
}

#[tokio::test(start_paused = true)]
async fn requests_in_panic_are_counted() {
    let (fakes, _hand, changes) = fakes(["a", "b", "c"], FAST);
    let ejection = Ejection::default().consecutive_failures(1).max_percent(100);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::new()).ejection(ejection).build();
    settle().await;
    fakes.iter().for_each(|fake| fake.set(Mood::Fails(Duration::ZERO)));
    for _ in 0..20 {
        let _ = balance.clone().oneshot(()).await;
        settle().await;
    }
    assert!(balance.fallbacks().panic > 10, "{:?}", balance.fallbacks());
}

#[tokio::test(start_paused = true)]
async fn a_subset_is_all_that_is_connected_and_one_that_goes_is_replaced() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let (fakes, hand, changes): (_, Hand, _) = fakes(names, FAST);
    let subset = Subset::random(3).seed(5);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::new()).subset(subset).build();
    settle().await;
    let ready = || -> Vec<String> {
        let views = balance.endpoints().into_iter();
        views.filter(|view| view.state == State::Ready).map(|view| view.id.to_string()).collect()
    };
    let members = ready();
    let chosen: Vec<_> = subset.choose(&names).into_iter().map(|index| names[index]).collect();
    assert_eq!(members, chosen);
    assert_eq!(fakes.iter().filter(|fake| fake.asked() > 0).count(), 3, "others were not even connected");
    assert_eq!(answers(&balance, 9).await.len(), 3);
    hand.remove(chosen[0]);
    settle().await;
    let after = ready();
    assert_eq!(after.iter().filter(|id| members.contains(id)).count(), 2);
    assert_eq!(after.len(), 3);
    assert_eq!(balance.endpoints().iter().filter(|view| view.state == State::Idle).count(), 4);
}

async fn share_of_a_newcomer<P: micro_balance::policy::Policy>(policy: P, after: u64) -> usize {
    let ([_a], hand, changes) = fakes(["a"], FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(policy)
        .seed(1)
        .slow_start(SlowStart::new(Duration::from_secs(60)))
        .build();
    sleep(Duration::from_secs(120)).await;
    hand.insert("b", &Fake::new("b", FAST));
    settle().await;
    assert_eq!(balance.endpoints().len(), 2);
    sleep(Duration::from_secs(after)).await;
    answers(&balance, 3_000).await.get("b").copied().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_is_given_more_and_more() {
    // A fifth of a weight is a sixth of all, a half a third, and a whole one half.
    for (after, share) in [(12, 500), (30, 1_000), (61, 1_500)] {
        for picked in [
            share_of_a_newcomer(WeightedRoundRobin::new(), after).await,
            share_of_a_newcomer(RoundRobin::new(), after).await,
        ] {
            assert!(picked.abs_diff(share) <= 60, "{picked} after {after} s");
        }
        let drawn = share_of_a_newcomer(LeastRequest, after).await;
        assert!(drawn.abs_diff(share) <= 150 || after == 12 && drawn < 800, "{drawn} after {after} s");
    }
    assert!(share_of_a_newcomer(PeakEwma::new(), 1).await < 500);
}

/// Of four that say the same of themselves, how many of 1 000 requests one gets that came so long ago.
async fn share_of_a_newcomer_among_probed(after: u64) -> usize {
    let (_fakes, hand, changes) = fakes(["a", "c", "d"], FAST);
    let load = Load { in_flight: 0, latency: ms(1) };
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(Prequal::new())
        .load_probe(move |_| async move { Ok(load) })
        .seed(1)
        .slow_start(SlowStart::new(Duration::from_secs(60)))
        .build();
    sleep(Duration::from_secs(120)).await;
    hand.insert("b", &Fake::new("b", FAST));
    sleep(Duration::from_secs(after)).await;
    let mut share = 0;
    for _ in 0..1_000 {
        share += usize::from(balance.clone().oneshot(()).await.unwrap() == "b");
        sleep(ms(1)).await;
    }
    share
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_that_says_it_is_as_fast_as_others_is_spared_at_first() {
    let shares = [share_of_a_newcomer_among_probed(1).await, share_of_a_newcomer_among_probed(61).await];
    assert!(shares[0] < 50 && shares[1] > 120, "{shares:?}");
}

/// The part of all requests that `b` gets of two.
async fn part<P: micro_balance::policy::Policy>(balance: &Balance<Fake, (), P>) -> f64 {
    answers(balance, 3_000).await.get("b").copied().unwrap_or(0) as f64 / 3_000.0
}

#[tokio::test(start_paused = true)]
async fn where_endpoints_are_checked_one_starts_slowly_from_the_moment_it_is_found_well() {
    let (_fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let well = Arc::new(AtomicBool::new(false));
    let (says, window) = (well.clone(), Duration::from_secs(60));
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(WeightedRoundRobin::new())
        .slow_start(SlowStart::new(window))
        .health_check(HealthCheck::default().jitter(0.0), move |fake: Fake| {
            let well = says.load(Relaxed) || fake.name() == "a";
            async move { if well { Ok(()) } else { Err("not yet".into()) } }
        })
        .build();
    for _ in 0..2 {
        // However long it has been connected: two good words, and it begins.
        sleep(window * 2).await;
        assert_eq!(part(&balance).await, 0.0);
        well.store(true, Relaxed);
        sleep(Duration::from_secs(4 + 12)).await;
        let share = part(&balance).await;
        assert!((0.14..0.22).contains(&share), "{share}: a fifth of a weight is a sixth of all");
        sleep(window).await;
        assert!((part(&balance).await - 0.5).abs() < 0.01);
        // It leaves when it is found unwell, and begins anew.
        well.store(false, Relaxed);
        sleep(Duration::from_secs(8)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_from_an_outage_starts_slowly_and_one_that_is_degraded_for_a_while_does_not() {
    let ([_a, b], _hand, changes) = fakes(["a", "b"], FAST);
    let degraded = Arc::new(AtomicBool::new(false));
    let (says, window) = (degraded.clone(), Duration::from_secs(60));
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(WeightedRoundRobin::new())
        .slow_start(SlowStart::new(window))
        .health_check(HealthCheck::default(), move |fake: Fake| {
            let degraded = says.load(Relaxed) && fake.name() == "b";
            async move { Ok(if degraded { Condition::Degraded } else { Condition::Well }) }
        })
        .build();
    sleep(window * 2).await;
    for says in [true, false] {
        degraded.store(says, Relaxed);
        sleep(Duration::from_secs(3)).await;
    }
    assert!((part(&balance).await - 0.5).abs() < 0.01);
    b.set(Mood::Refuses);
    part(&balance).await;
    sleep(Duration::from_secs(20)).await;
    b.set(FAST);
    sleep(Duration::from_secs(6)).await;
    let share = part(&balance).await;
    assert!((0.05..0.15).contains(&share), "{share}: a tenth of a weight, as it is a few seconds old");
}

/// Envoy's NotWarmedHostsLocality.
#[tokio::test(start_paused = true)]
async fn endpoints_that_nobody_has_reached_yet_take_no_share_from_their_zone() {
    let ([_a, a2, a3, _b, _b2], _hand, changes) = fakes(["a", "a2", "a3", "b", "b2"], FAST);
    [a2, a3].iter().for_each(|fake| fake.set(Mood::Connecting));
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::new())
        .locality(Locality::Weighted(ZoneWeights::new([("a", 1), ("b", 1)])))
        .attributes(|name: &&'static str, _: &Fake| Attributes {
            zone: Some(name[..1].into()),
            ..Attributes::default()
        })
        .seed(1)
        .build();
    settle().await;
    let share = answers(&balance, 10_000).await["a"];
    assert!(share.abs_diff(5_000) < 200, "{share}");
}

/// gRPC's failover timer: A56.
#[tokio::test(start_paused = true)]
async fn a_first_priority_that_is_connecting_is_waited_for_ten_seconds_and_not_once_it_is_known_to_be_down() {
    for (mood, waits) in [(Mood::Connecting, true), (Mood::Refuses, false)] {
        let (hand, changes) = discovery();
        let (first, second) = (Fake::new("first", mood), Fake::new("second", FAST));
        let balance: Balance<_, (), _> = Balance::builder(changes)
            .policy(RoundRobin::starting_at(0))
            .priority(Priority::grpc())
            .failfast(ms(60_000))
            .attributes(|name: &&'static str, _: &Fake| Attributes {
                priority: u32::from(*name == "second"),
                ..Attributes::default()
            })
            .build();
        hand.insert("first", &first);
        hand.insert("second", &second);
        let began = Instant::now();
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "second");
        let waited = began.elapsed();
        assert_eq!(waited >= ms(9_990), waits, "{mood:?}: {waited:?}");
        assert!(waited <= ms(10_100), "{mood:?}: {waited:?}");
        // It is back as soon as it is ready, and not waited for when it is lost.
        first.set(FAST);
        sleep(ms(5_000)).await;
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "first");
        first.set(Mood::Connecting);
        let began = Instant::now();
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "second");
        assert!(began.elapsed() <= ms(100), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_takes_requests_while_nobody_of_a_lower_number_can_be_reached() {
    let (hand, changes) = discovery();
    let (first, second) = (Fake::new("first", Mood::Refuses), Fake::new("second", FAST));
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .ejection(Ejection::default().consecutive_failures(1))
        .attributes(|name: &&'static str, _: &Fake| at(u32::from(*name == "second")))
        .build();
    hand.insert("first", &first);
    hand.insert("second", &second);
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "second");
    second.set(Mood::Fails(ms(0)));
    balance.clone().oneshot(()).await.unwrap_err();
    settle().await;
    assert_eq!(balance.endpoints().iter().filter(|view| view.state == State::Ejected).count(), 1);
    second.set(FAST);
    let began = Instant::now();
    assert_eq!(answers(&balance, 10).await["second"], 10);
    assert!(began.elapsed() < ms(100), "{:?}", began.elapsed());
    assert_eq!(balance.fallbacks().panic, 10);
}

#[tokio::test(start_paused = true)]
async fn requests_fail_in_panic_where_that_is_wanted_and_no_longer() {
    let (fakes, hand, changes) = fakes(["a", "b", "c"], FAST);
    let ejection =
        Ejection::default().consecutive_failures(2).max_percent(100).panic_percent(50).fail_in_panic(true);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::starting_at(0)).ejection(ejection).seed(1).build();
    balance.clone().oneshot(()).await.unwrap();
    fakes[0].set(Mood::Fails(ms(0)));
    fakes[1].set(Mood::Fails(ms(0)));
    for _ in 0..12 {
        let _ = balance.clone().oneshot(()).await;
        settle().await;
    }
    let began = Instant::now();
    let error = balance.clone().oneshot(()).await.unwrap_err();
    let error = error.downcast_ref::<NotSent>().and_then(|error| error.source()).unwrap();
    assert!(error.is::<TooFewWell>(), "{error}");
    assert_eq!(error.to_string(), "too few of 3 known endpoints are well, and requests are to fail then");
    assert_eq!(began.elapsed(), ms(0), "at once");
    let spared = fakes[2].calls();
    for _ in 0..5 {
        balance.clone().oneshot(()).await.unwrap_err();
    }
    assert_eq!(fakes[2].calls(), spared, "the one that is well is spared");
    fakes.iter().for_each(|fake| fake.set(FAST));
    sleep(ms(10_000)).await;
    for _ in 0..6 {
        balance.clone().oneshot(()).await.unwrap();
        settle().await;
    }
    drop(hand);
}
