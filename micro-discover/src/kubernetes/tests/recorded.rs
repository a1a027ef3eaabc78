//! The selection against what kube-proxy's own code makes of recorded traffic.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::selection::{Slices, apply, chosen, ids, named, select, set};
use crate::kubernetes::hold::Hold;
use crate::kubernetes::json::Read;
use crate::kubernetes::page::Page;
use crate::kubernetes::pool::Pool;
use crate::kubernetes::select::{Family, Port, Wanted};
use crate::kubernetes::slice::{Conditions, Event, Slice};

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
