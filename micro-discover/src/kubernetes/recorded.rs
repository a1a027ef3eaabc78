//! The selection against what kube-proxy's own code makes of recorded traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::hold::Hold;
use super::json::Read;
use super::page::Page;
use super::pool::Pool;
use super::said::said;
use super::select::{Family, Port, Wanted};
use super::slice::{Conditions, Event, Port as SlicePort, Slice};
use crate::record::Endpoint;

type Slices = BTreeMap<String, Slice>;

fn data(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubernetes").join(name);
    std::fs::read_to_string(path).ok()
}

fn list(name: &str) -> Slices {
    let page = Page::<Slice>::whole(data(name).unwrap().as_bytes()).unwrap();
    page.items.into_iter().map(|slice| (slice.metadata.name.clone(), slice)).collect()
}

/// What all slices are after the list and after each event.
fn states(name: &str) -> Vec<Slices> {
    let events = data(&format!("{name}.jsonl")).or_else(|| data(&format!("{name}.json"))).unwrap();
    if !name.contains("watch") {
        return vec![list(&format!("{name}.json"))];
    }
    let mut states = vec![list(&format!("{name}-initial.json"))];
    for line in events.lines() {
        let mut slices = states.last().unwrap().clone();
        match Event::<Slice>::whole(line.as_bytes()).unwrap() {
            Event::Applied(slice) => drop(slices.insert(slice.metadata.name.clone(), slice)),
            Event::Deleted(slice) => drop(slices.remove(&slice.metadata.name)),
            _ => continue,
        }
        states.push(slices);
    }
    states
}

/// What is used of `slices`, and what is there beside it.
#[derive(Debug, PartialEq)]
struct Selection {
    chosen: BTreeMap<SocketAddr, Endpoint>,
    refused: BTreeSet<SocketAddr>,
    degraded: bool,
}

/// What `pool` has settled on.
fn settled(pool: &Pool, slices: &Slices) -> Selection {
    let chosen: BTreeMap<_, _> = pool.used().1.map(|(at, member)| (at.into(), member.endpoint(at))).collect();
    assert_eq!(chosen.len(), pool.used().0);
    let addresses =
        slices.values().flat_map(|slice| said(slice.clone(), pool.wanted()).map(|(at, _)| at.into()));
    let refused = addresses.filter(|at| !chosen.contains_key(at)).collect();
    Selection { degraded: pool.degraded(), chosen, refused }
}

/// What a client that knows nothing yet makes of `slices`, in this order.
fn select<'a>(slices: impl Iterator<Item = &'a Slice>, wanted: &Wanted) -> Selection {
    let mut pool = Pool::new(wanted.clone());
    let mut all = Slices::new();
    for slice in slices {
        pool.put(slice.clone());
        all.insert(slice.metadata.name.clone(), slice.clone());
    }
    pool.settle();
    settled(&pool, &all)
}

fn ids(selection: &Selection) -> BTreeSet<String> {
    selection.chosen.values().map(|endpoint| endpoint.id.clone()).collect()
}

fn chosen(slices: &Slices, wanted: &Wanted) -> BTreeSet<String> {
    ids(&select(slices.values(), wanted))
}

fn named(port: &str) -> Wanted {
    Wanted { port: Port::Name(port.to_owned()), ..Wanted::default() }
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Compares one step of an oracle; answers how many ports it compared.
fn compare(place: &str, slices: &Slices, step: &Value, node: Option<&str>, zone: Option<&str>) -> usize {
    let mut compared = 0;
    for (family, ports) in step["family"].as_object().unwrap() {
        for (port, expected) in ports.as_object().unwrap() {
            let Some(name) = port.strip_suffix("/TCP") else { continue };
            let name = name.split_once(':').map_or("", |(_, name)| name);
            let one = slices.values().filter(|slice| slice.address_type == *family);
            let mut wanted = named(name);
            wanted.node = node.map(str::to_owned);
            wanted.zone = zone.map(str::to_owned);
            let own = expected.get("alternatives").or_else(|| step.get("alternatives"));
            assert!(own.is_none(), "{place}: an oracle with alternatives needs a wider comparison");
            for (policy, local) in [("cluster", false), ("local", true)] {
                wanted.local = local;
                let expected = expected[policy].as_array().unwrap();
                let expected: BTreeSet<_> =
                    expected.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
                assert_eq!(ids(&select(one.clone(), &wanted)), expected, "{place} {family} {port} {policy}");
            }
            compared += 1;
        }
    }
    compared
}

#[test]
fn every_step_of_every_recording_selects_what_kube_proxy_routes_to() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubernetes/oracle");
    let (mut files, mut compared) = (0, 0);
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let (name, rest) = file.split_once('.').unwrap();
        let (node, zone) = match rest.starts_with("zone-a") {
            true => (Some("node-a"), Some("zone-a")),
            false => (None, None),
        };
        let states = states(name);
        let oracle = data(&format!("oracle/{file}")).unwrap();
        let steps: Vec<Value> = oracle.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(states.len(), steps.len(), "{file}");
        for (at, (slices, step)) in states.iter().zip(&steps).enumerate() {
            compared += compare(&format!("{file} step {at}"), slices, step, node, zone);
        }
        files += 1;
    }
    assert!(files >= 46 && compared > 200, "{files} files, {compared} comparisons");
}

#[test]
fn hints_that_go_away_change_nothing_for_a_client_without_a_zone() {
    for name in ["25-watch-hints-removed", "46-watch-irrelevant-change"] {
        let states = states(name);
        let first = select(states[0].values(), &Wanted::default());
        for slices in &states {
            assert_eq!(select(slices.values(), &Wanted::default()), first, "{name}");
        }
    }
}

/// The sets that are published when a recording is played at once.
fn published(name: &str, hold: Duration) -> Vec<BTreeSet<String>> {
    let now = Instant::now();
    let (mut hold, mut pool) = (Hold::new(hold, hold * 8), Pool::new(Wanted::default()));
    let sets = states(name).into_iter().map(|slices| {
        let (set, _) = apply(&mut hold, &mut pool, slices.values(), now);
        set.into_iter().map(|endpoint| endpoint.id).collect()
    });
    let mut sets: Vec<_> = sets.collect();
    sets.dedup();
    sets
}

#[tokio::test(start_paused = true)]
async fn moving_between_slices_and_recreating_a_slice_change_nothing_while_removals_are_held() {
    let hold = Duration::from_millis(250);
    for name in ["42-watch-move-between-slices", "43-watch-delete-recreate"] {
        assert_eq!(published(name, hold).len(), 1, "{name}");
    }
    let without = published("42-watch-move-between-slices", Duration::ZERO);
    assert_eq!(without.len(), 3, "there, gone, there again: {without:?}");
}

/// All `slices` there are from `now` on.
fn apply<'a>(
    hold: &mut Hold,
    pool: &mut Pool,
    slices: impl Iterator<Item = &'a Slice>,
    now: Instant,
) -> (Vec<Endpoint>, Option<Instant>) {
    pool.replace(slices.cloned());
    hold.settle(pool, now);
    let (set, again) = hold.set(pool, now);
    (set.into_iter().map(|(at, member)| member.endpoint(at)).collect(), again)
}

#[tokio::test(start_paused = true)]
async fn a_held_endpoint_goes_when_its_time_is_over_and_at_once_when_it_is_seen_unready() {
    let states = states("30-watch-lifecycle");
    let (full, none) = (&states[0], Slices::new());
    let start = Instant::now();
    let mut hold = Hold::new(Duration::from_millis(250), Duration::from_secs(2));
    let mut pool = Pool::new(Wanted::default());
    let mut apply = |slices: &Slices, now| apply(&mut hold, &mut pool, slices.values(), now);
    let all = apply(full, start).0;

    let held = (all.clone(), Some(start + Duration::from_secs(2)));
    assert_eq!(apply(&none, start), held, "nobody else would be left");
    assert_eq!(apply(&none, start + Duration::from_secs(2)), (vec![], None));

    apply(full, start);
    let mut unready = full.clone();
    for target in unready.values_mut().flat_map(|slice| &mut slice.endpoints) {
        target.conditions = Conditions { ready: Some(false), serving: Some(false), terminating: None };
    }
    assert_eq!(apply(&unready, start), (vec![], None));

    apply(full, start);
    let mut fewer = full.clone();
    let first = all[0].address.host().unwrap().parse().ok();
    for slice in fewer.values_mut() {
        slice.endpoints.retain(|target| target.ip != first);
    }
    assert_eq!(apply(&fewer, start), (all.clone(), Some(start + Duration::from_millis(250))));
    let (left, _) = apply(&fewer, start + Duration::from_millis(250));
    assert_eq!(left.len(), all.len() - 1);
}

#[test]
fn an_address_that_a_new_pod_takes_over_is_not_removed_with_the_old_one() {
    let states = states("26-watch-ip-reuse");
    let both = set(&["10.3.0.1:9001", "10.3.0.2:9001"]);
    let sets: Vec<_> = states.iter().map(|slices| chosen(slices, &named("grpc"))).collect();
    assert_eq!(sets[sets.len() - 2..], [both.clone(), both]);
}

#[test]
fn a_changed_target_port_ends_with_every_address_at_the_new_port_and_is_never_empty() {
    let states = states("24-watch-port-change");
    let sets: Vec<_> = states.iter().map(|slices| chosen(slices, &Wanted::default())).collect();
    assert!(sets.iter().all(|set| !set.is_empty()), "{sets:?}");
    assert!(sets.last().unwrap().iter().all(|id| id.ends_with(":9500")), "{sets:?}");
}

#[test]
fn a_service_scaled_to_zero_and_one_without_pods_have_no_endpoint() {
    assert_eq!(chosen(states("29-watch-scale-to-zero").last().unwrap(), &Wanted::default()), set(&[]));
    let empty = list("03-list-no-pods.json");
    assert!(!empty.is_empty());
    assert_eq!(chosen(&empty, &Wanted::default()), set(&[]));
}

#[test]
fn ports_are_chosen_by_name_by_number_or_by_the_fallback_and_only_tcp() {
    let variety = list("47-list-variety.json");
    let number = |number| Wanted { port: Port::Number(number), ..Wanted::default() };
    assert_eq!(chosen(&variety, &number(9101)), set(&["10.6.0.1:9101", "10.6.0.5:9101"]));
    assert_eq!(chosen(&variety, &named("")), set(&["10.6.0.9:9200"]));
    assert_eq!(chosen(&variety, &named("dns")), set(&[]), "UDP");
    assert_eq!(chosen(&variety, &named("nothing")), set(&[]));
    let np = chosen(&list("22-np-list.json"), &named("grpc"));
    assert!(np.len() >= 2, "one name, two numbers: {np:?}");
    let headless = list("22-headnp-list.json");
    assert_eq!(chosen(&headless, &Wanted::default()), set(&[]));
    let fallback = Wanted { fallback_port: Some(7000), ..Wanted::default() };
    assert!(chosen(&headless, &fallback).iter().all(|id| id.ends_with(":7000")));
    assert!(!chosen(&headless, &fallback).is_empty());
}

#[test]
fn an_address_that_stands_twice_in_a_slice_is_one_endpoint() {
    let twice = Slice::whole(data("52-dup-endpoint.json").unwrap().as_bytes()).unwrap();
    assert_eq!(twice.endpoints.len(), 2);
    assert_eq!(select([&twice].into_iter(), &Wanted::default()).chosen.len(), 1);
}

#[test]
fn recorded_watches_are_understood_to_their_last_bookmark() {
    for (name, bookmarks) in [("32-watch-bookmark-timeout", 3), ("36-watchlist", 2)] {
        let text = data(&format!("{name}.jsonl")).unwrap();
        let events = text.lines().map(|line| Event::<Slice>::whole(line.as_bytes()).unwrap());
        let mut ends = Vec::new();
        for event in events {
            match event {
                Event::Bookmark(metadata, ends_initial) => {
                    assert!(metadata.resource_version.parse::<u64>().is_ok(), "{name}");
                    ends.push(ends_initial);
                }
                Event::Applied(_) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        let initial = usize::from(name.contains("watchlist"));
        assert_eq!((ends.len(), ends.iter().filter(|ends| **ends).count()), (bookmarks, initial), "{name}");
    }
    let expired =
        Event::<Slice>::whole(data("81-410-watch-in-stream.json").unwrap().trim().as_bytes()).unwrap();
    assert!(matches!(expired, Event::Failed(status) if status.code == 410 && status.reason == "Expired"));
}

#[test]
fn unready_pods_that_are_published_on_purpose_are_used() {
    assert_eq!(chosen(&list("22-pnr-list.json"), &Wanted::default()).len(), 3);
}

#[test]
fn a_dual_stack_pod_is_one_endpoint() {
    let both = list("04-list-dualstack.json");
    let family = |family| Wanted { family, ..named("grpc") };
    let v4 = chosen(&both, &family(Family::PreferIpv4));
    assert_eq!(v4.len(), 3);
    assert_eq!(chosen(&both, &family(Family::Both)), v4);
    let v6 = chosen(&both, &family(Family::PreferIpv6));
    assert!(v6.len() == 3 && v6.iter().all(|id| id.starts_with('[')), "{v6:?}");
    let only6: Slices = both.into_iter().filter(|(_, slice)| slice.address_type == "IPv6").collect();
    assert_eq!(chosen(&only6, &family(Family::PreferIpv4)), v6);
    assert_eq!(chosen(&only6, &family(Family::Both)), v6);
}

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
