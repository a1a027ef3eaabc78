//! What a configuration may say, and what it is told when it says something else.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use micro_balance::{
    Balance, HashKey,
    config::{self, Balancing, Invalid},
    eligible::{
        Locality, Priority, SlowStart,
        locality::{Prefer, ZoneAware, ZoneWeights},
    },
    policy::{Modulo, RingHash},
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;
use tower::ServiceExt;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(deserialize_with = "config::choice")]
    shape: Shape,
    #[serde(default, deserialize_with = "config::maybe_duration")]
    wait: Option<Duration>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Shape {
    Circle(Circle),
    Line(Line),
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Circle {
    #[serde(deserialize_with = "config::percent")]
    percent: u32,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Line {}

fn read(text: &str) -> Result<Settings, Invalid> {
    config::read(toml::Deserializer::parse(text).unwrap())
}

#[test]
fn a_name_alone_takes_all_defaults_and_a_table_changes_some() {
    assert_eq!(read("shape = \"line\"").unwrap().shape, Shape::Line(Line {}));
    assert_eq!(read("shape = \"circle\"").unwrap().shape, Shape::Circle(Circle { percent: 0 }));
    assert_eq!(read("[shape.circle]\npercent = 7").unwrap().shape, Shape::Circle(Circle { percent: 7 }));
    assert_eq!(read("shape = \"line\"\nwait = \"250ms\"").unwrap().wait, Some(Duration::from_millis(250)));
}

#[test]
fn what_is_wrong_is_named_by_the_path_to_its_key() {
    for (text, key, why) in [
        ("shape = \"square\"", "shape", "circle"),
        ("[shape.square]", "shape.square", "circle"),
        ("[shape.circle]\npercent = 101", "shape.circle.percent", "0 to 100"),
        ("[shape.circle]\nprecent = 1", "shape.circle.precent", "precent"),
        ("shape = \"line\"\nwait = \"soon\"", "wait", "soon"),
        ("shape = \"line\"\nwait = 10", "wait", "string"),
        ("shape = \"line\"\nweight = 10", "weight", "weight"),
        ("shape = { circle = {}, line = {} }", "shape", "more than one"),
        ("shape = 3", "shape", "a name"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.key().starts_with(key) && error.to_string().contains(why), "{text}: {error}");
    }
    let error = config::read::<Settings, _>(json!({ "shape": { "circle": { "percent": -1 } } })).unwrap_err();
    assert_eq!(error.key(), "shape.circle.percent");
}

fn balancing(text: &str) -> Result<Balancing, Invalid> {
    config::read(toml::Deserializer::parse(text).unwrap())
}

#[test]
fn every_policy_is_named_in_a_configuration() {
    for (text, policy) in [
        ("", "PeakEwma"),
        ("policy = \"random\"", "Random"),
        ("policy = \"round_robin\"", "RoundRobin"),
        ("policy = \"weighted_round_robin\"", "WeightedRoundRobin"),
        ("policy = \"smooth_weighted_round_robin\"", "SmoothWeightedRoundRobin"),
        ("policy = \"earliest_deadline_first\"", "EarliestDeadlineFirst"),
        ("policy = \"least_request\"", "LeastRequest"),
        ("policy = \"least_of_all\"", "LeastOfAll"),
        ("policy = \"request_bias\"", "RequestBias"),
        ("policy = \"peak_ewma\"", "PeakEwma"),
        ("policy = \"pick_first\"", "PickFirst"),
        ("policy = \"ring_hash\"", "RingHash"),
        ("policy = \"maglev\"", "Maglev"),
        ("policy = \"rendezvous\"", "Rendezvous"),
        ("policy = \"modulo\"", "Modulo"),
        ("policy = \"shard\"", "Shard"),
        ("policy = \"label_order\"", "LabelOrder"),
        ("policy = \"prequal\"", "Prequal"),
        ("policy = \"random_aperture\"", "RandomAperture"),
        ("[policy.ring_hash]\ncookie = \"session\"", "HashBy"),
        ("[policy.maglev]\ncookie = \"session\"", "HashBy"),
        ("[policy.rendezvous]\ncookie = \"session\"", "HashBy"),
        ("[policy.ring_hash]\nquery = \"user\"", "HashBy"),
        ("[policy.ring_hash]\nmode = \"envoy\"\nhash = \"murmur_hash_2\"", "RingHash"),
        ("[policy.random_aperture]\nleast = 3\nlow = 0.5\nhigh = 2.0", "RandomAperture"),
        ("[policy.orca_weighted]\nblackout = \"0s\"\nmetrics = [\"cpu_utilization\"]", "OrcaWeighted"),
        ("[policy.maglev]\nbound = 1.25", "Maglev"),
        ("[policy.least_request]\nchoices = 3", "LeastOf"),
        ("[policy.least_request]\nchoices = 300", "LeastOf"),
        ("[policy.aperture]\ninstance = 1\npeers = 3", "Aperture"),
        ("[policy.peak_ewma]\ndecay = \"5s\"\npenalty = \"1s\"", "PeakEwma"),
        ("[policy.ring_hash]\nmode = \"ketama\"\nheader = \"x-user\"\nbound = 1.25", "HashBy"),
        (
            "[policy.label_subset]\nby = [[\"version\"]]\notherwise = \"nobody\"\npolicy = \"random\"",
            "LabelSubset",
        ),
        ("[policy.label_subset]\nby_or = [[[\"version\", \"zone\"], [\"version\"]]]", "LabelSubset"),
        (
            "[policy.label_subset]\nredundant = true\nby_otherwise = [[[\"version\"], \"nobody\"]]",
            "LabelSubset",
        ),
        ("[policy.first_attempts]\nlabels = [[\"stage\", \"canary\"]]", "FirstAttempts"),
        ("[priority.failover]\npatience = \"10s\"", "PeakEwma"),
        ("[policy.override_host]\ncookie = \"session\"\nstrict = true", "OverrideHost"),
        ("policy = \"override_host\"", "OverrideHost"),
        ("[policy.override_host]\nheader = \"x-host-bin\"", "OverrideHost"),
        ("[policy.label_subset]\notherwise.those = { version = \"1\" }", "LabelSubset"),
        ("[policy.label_order]\nlabels = [[\"disk\", \"ssd\"]]", "LabelOrder"),
    ] {
        let built = format!("{:?}", balancing(text).unwrap().policy.build());
        assert!(built.starts_with(&format!("Boxed(\"{policy}")), "{text}: {built}");
    }
}

#[test]
fn every_setting_of_levels_zones_and_slow_start_is_heeded() {
    let second = Duration::from_secs(1);
    let read = |text: &str| balancing(text).unwrap();
    for (text, ours) in [
        ("priority = \"failover\"", Priority::failover()),
        ("[priority.failover]\npatience = \"3s\"", Priority::failover().patience(3 * second)),
        ("priority = \"proportional\"", Priority::proportional()),
        ("[priority.proportional]\noverprovisioning = 120", Priority::proportional().overprovisioning(120)),
    ] {
        assert_eq!(read(text).priority, ours, "{text}");
    }
    let peers = || [("a", 1), ("b", 2)].map(|(zone, count)| (zone.to_owned(), count));
    for (text, ours) in [
        ("prefer = { zone = \"a\" }", Locality::Prefer(Prefer::new("a"))),
        (
            "prefer = { zone = \"a\", while_percent = 30 }",
            Locality::Prefer(Prefer::new("a").while_percent(30)),
        ),
        ("weighted = { weights = { a = 1, b = 2 } }", Locality::Weighted(ZoneWeights::new(peers()))),
        (
            "weighted = { weights = { a = 1, b = 2 }, overprovisioning = 120 }",
            Locality::Weighted(ZoneWeights::new(peers()).overprovisioning(120)),
        ),
        (
            "zone_aware = { zone = \"a\", peers = { a = 1, b = 2 } }",
            Locality::ZoneAware(ZoneAware::new("a", peers().into())),
        ),
        (
            "zone_aware = { zone = \"a\", peers = { a = 1, b = 2 }, least = 3, percent = 40, force_local = 2 }",
            Locality::ZoneAware(ZoneAware::new("a", peers().into()).least(3).percent(40).force_local(2)),
        ),
    ] {
        assert_eq!(format!("{:?}", read(&format!("locality.{text}")).locality), format!("{ours:?}"));
    }
    let slow = |text: &str| format!("{:?}", read(&format!("slow_start = {text}")).slow_start.unwrap());
    let ours = SlowStart::new(9 * second);
    assert_eq!(slow("{ window = \"9s\" }"), format!("{ours:?}"));
    let ours = ours.aggression(2.0).unwrap().min_percent(30);
    assert_eq!(slow("{ window = \"9s\", aggression = 2.0, min_percent = 30 }"), format!("{ours:?}"));
}

#[test]
fn a_policy_that_cannot_work_is_refused_with_the_path_to_why() {
    for (text, key) in [
        ("policy = \"fastest\"", "policy"),
        ("policy = {}", "policy"),
        ("[policy.ring_hash]\npoints = 5\nmode = \"envoy\"", "policy.ring_hash"),
        ("[policy.ring_hash]\npoints = 5\nmode = \"grpc\"", "policy.ring_hash"),
        ("[policy.ring_hash]\nleast = 5", "policy.ring_hash"),
        ("[policy.ring_hash]\nmost = 5\nmode = \"ketama\"", "policy.ring_hash"),
        ("policy = \"label_subset\"", "policy"),
        ("[policy.override_host]\nextension = false\nstrict = true", "policy.override_host"),
        ("[policy.override_host]\ncookie = \"a=b; c\"", "policy.override_host.cookie"),
        ("[policy.override_host]\ncookie = \"\"", "policy.override_host.cookie"),
        ("[policy.override_host]\nheader = \"a b\"", "policy.override_host.header"),
        ("[policy.least_request]\nchoices = 1", "policy.least_request.choices"),
        ("[policy.ring_hash]\nbound = 0.5", "policy.ring_hash.bound"),
        ("[policy.ring_hash]\nmode = \"torus\"", "policy.ring_hash.mode"),
        ("[policy.ring_hash]\nheader = \"x-bin\"", "policy.ring_hash.header"),
        ("[policy.ring_hash]\nmode = \"envoy\"\nleast = 9\nmost = 8", "policy.ring_hash"),
        ("[policy.maglev]\nsize = 100", "policy.maglev.size"),
        ("[policy.maglev]\nbound = 0.5", "policy.maglev.bound"),
        ("[policy.aperture]\ninstance = 3\npeers = 3", "policy.aperture"),
        ("[policy.orca_weighted]\npenalty = -1.0", "policy.orca_weighted.penalty"),
        ("[policy.prequal]\nprobes = 0", "policy.prequal.probes"),
        ("[policy.round_robin]\nstart = 1", "policy.round_robin.start"),
        ("[policy.peak_ewma]\ndecay = 5", "policy.peak_ewma.decay"),
        ("[policy.label_subset.policy.maglev]\nsize = 4", "policy.label_subset.policy.maglev.size"),
        ("[policy.label_subset]\nby_or = [[[\"version\"], [\"zone\"]]]", "policy.label_subset"),
        ("[priority.failover]\npatience = 10", "priority.failover.patience"),
        ("[subset.random]\nsize = 0", "subset.random.size"),
        ("[subset.random]\nsize = -3", "subset.random.size"),
        ("[subset.random]\nsize = 3\nas_grpc_go = 1", "subset.random.as_grpc_go"),
        ("[policy.random_aperture]\nlow = 2.0", "policy.random_aperture"),
        ("[policy.maglev]\nheader = \"x-user\"\ncookie = \"session\"", "policy.maglev"),
        ("[policy.maglev]\ncookie = \"a b\"", "policy.maglev.cookie"),
        ("[policy.ring_hash]\nmode = \"ketama\"\ncookie = \"session\"", "policy.ring_hash"),
        ("[policy.ring_hash]\nhash = \"murmur_hash_2\"", "policy.ring_hash"),
        ("[policy.ring_hash]\nmode = \"envoy\"\nhash = \"murmur\"", "policy.ring_hash.hash"),
        (
            "[locality.weighted]\nweights = { a = 1 }\noverprovisioning = 0",
            "locality.weighted.overprovisioning",
        ),
        ("subset = \"random\"", "subset"),
        ("priority = \"first\"", "priority"),
        ("[priority.proportional]\nfactor = 1.4", "priority.proportional.factor"),
        ("[priority.proportional]\noverprovisioning = 0", "priority.proportional.overprovisioning"),
        ("[locality.prefer]\nzone = \"a\"\nwhile_percent = 101", "locality.prefer.while_percent"),
        ("[locality.weighted]\nweights = { a = 0 }", "locality.weighted.weights"),
        ("[locality.weighted]\nweights = { a = -1 }", "locality.weighted.weights.a"),
        ("[locality.weighted]\nzones = { a = 1 }", "locality.weighted.zones"),
        ("[locality.zone_aware]\nzone = \"a\"\npeers = {}", "locality.zone_aware.peers"),
        ("[locality.zone_aware]\nzone = \"a\"\npeers = { b = 1 }", "locality"),
        (
            "[locality.zone_aware]\nzone = \"a\"\npeers = { a = 1 }\npercent = 101",
            "locality.zone_aware.percent",
        ),
        (
            "[locality.zone_aware]\nzone = \"a\"\npeers = { a = 1 }\nforce_local = 0",
            "locality.zone_aware.force_local",
        ),
        ("locality = \"near\"", "locality"),
        ("[slow_start]\nwindow = \"0s\"", "slow_start.window"),
        ("[slow_start]\nwindow = \"10s\"\nmin_percent = 101", "slow_start.min_percent"),
        ("[slow_start]\nwindow = \"10s\"\nfactor = 1", "slow_start.factor"),
        ("[slow_start]\nwindow = \"a while\"", "slow_start.window"),
        ("[slow_start]\nwindow = \"10s\"\naggression = 0.0", "slow_start.aggression"),
        ("[slow_start]\naggression = 1.0", "slow_start"),
        ("balancer = 1", "balancer"),
    ] {
        let error = balancing(text).unwrap_err();
        assert!(error.key().starts_with(key), "{text}: {error}");
    }
}

#[test]
fn who_names_nobody_is_told_what_can_be_named() {
    let error = balancing("policy = {}").unwrap_err().to_string();
    assert!(error.contains("a name, or a table with one name and its settings"), "{error}");
    let error = balancing("[policy.override_host]\nheader = \"a b\"").unwrap_err().to_string();
    assert!(error.contains("the header that names an endpoint"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_override_host_of_which_nothing_is_said_asks_the_extension() {
    let config = balancing("[policy.override_host]\npolicy = \"round_robin\"").unwrap();
    let (_fakes, _hand, changes) = support::fakes(["a", "b", "c"], support::FAST);
    let balance =
        Balance::builder(support::pages(changes)).protocol(micro_balance::Http).configured(&config).build();
    for _ in 0..9 {
        let mut request = http::Request::new(());
        request.extensions_mut().insert(micro_balance::policy::Override::new("b"));
        assert_eq!(balance.clone().oneshot(request).await.unwrap().headers()["from"], "b");
    }
}

/// A key in what the configuration names is as good as its hash in the extensions of a request.
#[tokio::test(start_paused = true)]
async fn requests_are_hashed_by_what_the_configuration_names() {
    let xx = |key: &[u8]| RingHash::new().hash(key);
    let ketama = |key: &[u8]| RingHash::ketama().hash(key);
    type Hash<'a> = &'a dyn Fn(&[u8]) -> HashKey;
    for (policy, hash, named) in [
        ("ring_hash", &xx as Hash, &["header", "cookie", "query"][..]),
        ("maglev", &xx, &["header", "cookie", "query"]),
        ("rendezvous", &xx, &["header", "cookie", "query"]),
        ("modulo", &Modulo::hash, &["header"]),
        ("ketama", &ketama, &["header"]),
    ] {
        for named in named {
            let kind = if policy == "ketama" { "ring_hash" } else { policy };
            let mode = if policy == "ketama" { "mode = \"ketama\"\n" } else { "" };
            let config = balancing(&format!("[policy.{kind}]\n{mode}{named} = \"x-user\"")).unwrap();
            let by_hash = balancing(&format!("[policy.{kind}]\n{mode}")).unwrap();
            let (_fakes, _hand, changes) = support::fakes(["a", "b", "c", "d"], support::FAST);
            let (_others, _another, hashed) = support::fakes(["a", "b", "c", "d"], support::FAST);
            let balance = |changes, config| {
                let builder = Balance::builder(support::pages(changes));
                builder.protocol(micro_balance::Http).configured(config).build()
            };
            let (balance, by_hash) = (balance(changes, &config), balance(hashed, &by_hash));
            sleep(Duration::from_millis(50)).await;
            let mut served = BTreeSet::new();
            for key in (0..40).map(|n| format!("key{n}")) {
                let mut request = http::Request::new(());
                match *named {
                    "header" => drop(request.headers_mut().insert("x-user", key.parse().unwrap())),
                    "cookie" => {
                        let cookies = format!("a=b; x-user={key}").parse().unwrap();
                        request.headers_mut().insert("cookie", cookies);
                    }
                    _ => *request.uri_mut() = format!("/?a=b&x-user={key}").parse().unwrap(),
                }
                let from = balance.clone().oneshot(request).await.unwrap().headers()["from"].clone();
                let mut request = http::Request::new(());
                request.extensions_mut().insert(hash(key.as_bytes()));
                let answer = by_hash.clone().oneshot(request).await.unwrap();
                assert_eq!(answer.headers()["from"], from, "{policy} by {named}: {key}");
                served.insert(from.to_str().unwrap().to_owned());
            }
            assert_eq!(served.len(), 4, "{policy} by {named}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_balancer_does_what_its_configuration_says() {
    let config = balancing(
        "policy = \"round_robin\"\npriority = \"proportional\"\n[subset.random]\nsize = 2\nseed = 1\nas_grpc_go = true\n\
         [locality.weighted]\nweights = { a = 1 }\noverprovisioning = 120\n[slow_start]\nwindow = \"10s\"\nmin_percent = 20",
    )
    .unwrap();
    let (_fakes, _hand, changes) = support::fakes(["a", "b", "c", "d"], support::FAST);
    let balance = Balance::builder(changes).configured(&config).build();
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    let shares = support::count(answers);
    assert_eq!(shares.values().copied().collect::<Vec<_>>(), [5, 5], "{shares:?}");
}
