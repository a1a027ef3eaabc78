//! The selection of slices that were made by hand, and by chance.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::selection::{Slices, apply, ids, named, select, set, settled};
use crate::kubernetes::hold::Hold;
use crate::kubernetes::json::Read;
use crate::kubernetes::pool::Pool;
use crate::kubernetes::select::{Family, Wanted};
use crate::kubernetes::slice::{Event, Port as SlicePort, Slice};

/// Hints of four kinds.
fn hints(kind: u8) -> Value {
    match kind {
        0 => serde_json::json!(null),
        1 => serde_json::json!({"forZones": [{"name": "z0"}]}),
        2 => serde_json::json!({"forZones": [{"name": "z1"}], "forNodes": [{"name": "n0"}]}),
        _ => serde_json::json!({"forZones": [{"name": "z0"}], "forNodes": [{"name": "n1"}]}),
    }
}

fn slice(name: &str, version: u32, endpoints: &Value) -> Slice {
    let json = serde_json::json!({
        "metadata": {"name": name, "resourceVersion": version.to_string()},
        "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints,
    });
    Slice::whole(json.to_string().as_bytes()).unwrap()
}

#[test]
fn of_what_one_slice_says_twice_of_an_address_the_first_stands_again_once_a_better_word_is_gone() {
    let endpoint = |ready: bool, serving: bool| {
        serde_json::json!({"addresses": ["10.0.0.4"],
            "conditions": {"ready": ready, "serving": serving, "terminating": !ready}})
    };
    let twice = slice("twice", 0, &serde_json::json!([endpoint(false, true), endpoint(false, false)]));
    let better = slice("better", 1, &serde_json::json!([endpoint(true, true)]));
    let mut pool = Pool::new(Wanted::default());
    pool.put(twice.clone());
    pool.put(better);
    pool.remove("better");
    pool.settle();
    let slices = Slices::from([("twice".to_owned(), twice)]);
    let selection = settled(&pool, &slices);
    assert!(selection.degraded, "{selection:?}");
    assert_eq!(selection, select(slices.values(), &Wanted::default()));
}

#[test]
fn what_shares_an_address_is_one_endpoint_whatever_the_order() {
    let dead = slice(
        "a",
        9,
        &serde_json::json!([{"addresses": ["10.0.0.1"], "zone": "old",
        "conditions": {"ready": false, "serving": true, "terminating": true}}]),
    );
    let live = slice(
        "b",
        1,
        &serde_json::json!([{"addresses": ["10.0.0.1"], "zone": "new"},
        {"addresses": ["10.0.0.1"], "zone": "new"}]),
    );
    for order in [[&dead, &live], [&live, &dead]] {
        let selection = select(order.into_iter(), &Wanted::default());
        assert_eq!(ids(&selection), set(&["10.0.0.1:80"]));
        assert_eq!(selection.chosen[&"10.0.0.1:80".parse().unwrap()].zone.as_deref(), Some("new"));
    }
}

#[test]
fn every_slice_may_be_full() {
    let full = |name: &str, second: u16| {
        let endpoints = (0..1_000_u16).map(|host| {
            let [high, low] = host.to_be_bytes();
            serde_json::json!({"addresses": [format!("10.{second}.{high}.{low}")]})
        });
        let mut full = slice(name, 1, &endpoints.collect());
        full.ports = (1..=100)
            .map(|n| SlicePort { port: Some(n), name: Some(format!("p{n}")), ..SlicePort::default() })
            .collect();
        full
    };
    let slices = [full("a", 1), full("b", 2)];
    let selection = select(slices.iter(), &named("p100"));
    assert_eq!(selection.chosen.len(), 2_000);
    assert!(selection.chosen.keys().all(|at| at.port() == 100));
}

#[test]
fn those_shutting_down_stand_in_while_nobody_is_ready_and_never_the_unready() {
    let targets = serde_json::json!([
        {"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": false, "terminating": true}},
        {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": false}},
    ]);
    let selection = select([slice("a", 1, &targets)].iter(), &Wanted::default());
    assert!(selection.degraded);
    assert_eq!(ids(&selection), set(&["10.0.0.1:80"]));
    assert_eq!(selection.chosen[&"10.0.0.1:80".parse().unwrap()].metadata["terminating"], "true");
}

#[test]
fn hostile_slices_are_read_as_far_as_they_make_sense() {
    let targets = serde_json::json!([{"addresses": null}, {"addresses": [""]}, {"addresses": ["example.com"]},
        {"addresses": ["fd00::1"]}, {"addresses": ["10.0.0.1", "10.0.0.9"], "zone": "../x", "hints": null,
        "conditions": null, "targetRef": null}]);
    let mut odd = slice("a", 1, &targets);
    let selection = select([&odd].into_iter(), &Wanted::default());
    assert_eq!(ids(&selection), set(&["10.0.0.1:80"]));
    assert_eq!(selection.chosen[&"10.0.0.1:80".parse().unwrap()].zone, None);
    odd.address_type = "FQDN".to_owned();
    assert_eq!(ids(&select([&odd].into_iter(), &Wanted::default())), set(&[]));
    assert!(Event::<Slice>::whole(b"{\"type\":\"ADDED\"").is_err());
    assert_eq!(Event::<Slice>::whole(b"{\"type\":\"X\",\"object\":1}").unwrap(), Event::Unknown);
}

proptest::proptest! {
    #[test]
    fn after_any_changes_the_published_set_is_the_selection_once_holds_are_over(
        steps in proptest::collection::vec((0_usize..3, proptest::collection::vec((0_u8..4, 0_u8..4), 0..4)), 1..30)
    ) {
        let (start, time) = (Instant::now(), Duration::from_millis(250));
        let (mut hold, mut pool) = (Hold::new(time, time * 8), Pool::new(Wanted::default()));
        let mut slices = Slices::new();
        let mut before: BTreeSet<String> = BTreeSet::new();
        for (at, (name, targets)) in (0_u32..).zip(&steps) {
            let targets: Vec<_> = targets.iter().map(|(host, state)| serde_json::json!({
                "addresses": [format!("10.0.0.{host}")],
                "conditions": {"ready": *state == 0, "serving": *state < 2, "terminating": *state == 1 || *state == 3},
            })).collect();
            let name = format!("s{name}");
            slices.insert(name.clone(), slice(&name, at, &targets.into()));
            let selection = select(slices.values(), &Wanted::default());
            let reversed = select(slices.values().rev(), &Wanted::default());
            proptest::prop_assert_eq!(&selection, &reversed);
            let now = start + time * at / 3;
            let (set, again) = apply(&mut hold, &mut pool, slices.values(), now);
            let set: BTreeSet<String> = set.into_iter().map(|endpoint| endpoint.id).collect();
            proptest::prop_assert!(set.is_superset(&ids(&selection)));
            let refused = selection.refused.iter().map(ToString::to_string).collect();
            proptest::prop_assert!(set.is_disjoint(&refused));
            proptest::prop_assert!(set.difference(&ids(&selection)).all(|id| before.contains(id)));
            proptest::prop_assert_eq!(again.is_some(), set != ids(&selection));
            before = set;
        }
        let selection = select(slices.values(), &Wanted::default());
        let (set, again) = apply(&mut hold, &mut pool, slices.values(), start + time * 1000);
        proptest::prop_assert!(again.is_none());
        proptest::prop_assert_eq!(set, selection.chosen.into_values().collect::<Vec<_>>());
    }

    #[test]
    fn what_one_slice_changes_adds_up_to_what_all_slices_say(
        (family, local, at_home) in (0_usize..3, proptest::bool::ANY, proptest::bool::ANY),
        steps in proptest::collection::vec(
            (0_usize..5, proptest::option::of(proptest::collection::vec((0_u8..5, 0_u8..4, 0_u8..4), 0..5))), 1..40)
    ) {
        let family = [Family::PreferIpv4, Family::PreferIpv6, Family::Both][family];
        let place = |name: &str| at_home.then(|| name.to_owned());
        let wanted = Wanted { family, local, node: place("n0"), zone: place("z0"), ..Wanted::default() };
        let (mut pool, mut slices) = (Pool::new(wanted.clone()), Slices::new());
        let mut before = settled(&pool, &slices);
        for (version, (number, targets)) in (0_u32..).zip(&steps) {
            // The even ones are of IPv4; pods have an address of each.
            let (name, v4) = (format!("s{number}"), number % 2 == 0);
            if let Some(targets) = targets {
                let targets: Vec<_> = targets.iter().map(|(host, state, place)| serde_json::json!({
                    "addresses": [if v4 { format!("10.0.0.{host}") } else { format!("fd00::{host}") }],
                    "conditions": {"ready": *state < 2, "serving": *state < 3, "terminating": *state >= 2},
                    "targetRef": {"uid": host.to_string()},
                    "nodeName": format!("n{}", host % 2),
                    "hints": hints(*place),
                })).collect();
                let mut slice = slice(&name, version, &targets.into());
                if !v4 {
                    slice.address_type = "IPv6".to_owned();
                }
                pool.put(slice.clone());
                slices.insert(name, slice);
            } else {
                pool.remove(&name);
                slices.remove(&name);
            }
            let missing = pool.settle().into_iter().map(|(at, member)| (SocketAddr::from(at), member.endpoint(at)));
            let missing: Vec<_> = missing.collect();
            let now = settled(&pool, &slices);
            proptest::prop_assert_eq!(&now, &select(slices.values(), &wanted));
            let gone = |at: &SocketAddr| !now.chosen.contains_key(at) && !now.refused.contains(at);
            // What was used is missing when no slice has it, and only then.
            let expected: BTreeSet<_> = before.chosen.keys().copied().filter(gone).collect();
            proptest::prop_assert_eq!(missing.iter().map(|(at, _)| *at).collect::<BTreeSet<_>>(), expected);
            proptest::prop_assert!(missing.iter().all(|(at, endpoint)| before.chosen[at] == *endpoint));
            before = now;
        }
    }
}
