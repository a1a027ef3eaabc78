//! Policies that look at requests in flight, and at labels.

use std::sync::Arc;

use micro_balance::{
    Attributes, Chance,
    policy::{Context, LabelOrder, LeastOf, LeastOfAll, LeastRequest, Policy},
};
use serde_json::Value;

use crate::endpoints::{Set, numbers};

const ENVOY: &str = include_str!("../data/envoy_edf_wrr_slowstart.json");
const GO_MICRO: &str = include_str!("../data/gomicro_selectors.json");

async fn busy(active: &[usize]) -> Set {
    let mut set = Set::weighing(&vec![1; active.len()]).await;
    for (index, &count) in active.iter().enumerate() {
        set.load(index, count).await;
    }
    set
}

#[tokio::test(start_paused = true)]
async fn a_full_scan_finds_the_least_busy_and_draws_among_equals_as_envoy_does() {
    let data: Value = serde_json::from_str(ENVOY).unwrap();
    let scan = &data["full_scan"];
    let set = busy(&numbers(&scan["active"])).await;
    assert!(set.picks(&LeastOfAll, 100).iter().all(|&pick| pick as u64 == scan["pick"]));
    let set = busy(&numbers(&scan["ties"]["active"])).await;
    let shares = set.shares(&LeastOfAll, 100_000);
    assert_eq!(shares[..2], [0, 0]);
    assert!(shares[2..].iter().all(|share| share.abs_diff(33_333) <= 500), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn two_choices_of_two_take_the_less_busy_whichever_is_drawn_first() {
    let data: Value = serde_json::from_str(ENVOY).unwrap();
    for case in data["least_request_p2c"].as_array().unwrap() {
        let set = busy(&numbers(&case["active"])).await;
        match case["choice_count"].as_u64() {
            // The draws differ, so two of two are both.
            None => assert!(set.picks(&LeastRequest, 100).iter().all(|&pick| pick as u64 == case["pick"])),
            // The draws are as they come: of so many the least busy is nearly always one.
            Some(choices) => {
                let shares = set.shares(&LeastOf::choices(choices as u8).unwrap(), 10_000);
                let drawn = 1.0 - 0.75_f64.powi(choices as i32);
                let pick = case["pick"].as_u64().unwrap() as usize;
                assert!((shares[pick] as f64 / 10_000.0 - drawn).abs() < 0.02, "{shares:?}");
            }
        }
    }
    assert!(LeastOf::choices(0).is_err() && LeastOf::choices(1).is_err());
    // More than ten are ten: with 250 draws the least busy would get all.
    let set = busy(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]).await;
    let shares = set.shares(&LeastOf::choices(250).unwrap(), 10_000);
    let drawn = 1.0 - 0.9_f64.powi(10);
    assert!((shares[9] as f64 / 10_000.0 - drawn).abs() < 0.02, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_that_do_not_end_are_spread_by_weight() {
    let weights = [1, 2, 3, 4];
    let mut set = Set::weighing(&weights).await;
    let chance = Chance::new(3);
    let table = LeastRequest.table(&set.endpoints);
    for _ in 0..200 {
        let pick = LeastRequest.pick(&table, &set.endpoints, &Context::new(&chance)).unwrap();
        set.load(pick, 1).await;
    }
    for (endpoint, weight) in set.endpoints.iter().zip(weights) {
        assert!(endpoint.in_flight().abs_diff(u64::from(weight) * 20) <= 4, "{:?}", set.endpoints);
    }
}

/// Finagle's own bar: a hundred endpoints, a hundred thousand requests, less than ten between the most and the least.
#[tokio::test(start_paused = true)]
async fn requests_that_do_not_end_are_spread_evenly_over_a_hundred_endpoints() {
    for seed in 1..=3 {
        let mut set = Set::weighing(&[1; 100]).await;
        let chance = Chance::new(seed);
        let table = LeastRequest.table(&set.endpoints);
        for _ in 0..100_000 {
            let pick = LeastRequest.pick(&table, &set.endpoints, &Context::new(&chance)).unwrap();
            set.hold(pick);
        }
        let loads: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.in_flight()).collect();
        let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
        assert!(spread <= 6, "{spread}");
    }
}

/// As even as can be, which is what a look at all of them is for.
#[tokio::test(start_paused = true)]
async fn a_full_scan_spreads_requests_that_do_not_end_to_one() {
    let mut set = Set::weighing(&[1; 100]).await;
    let chance = Chance::new(5);
    for _ in 0..10_050 {
        let pick = LeastOfAll.pick(&(), &set.endpoints, &Context::new(&chance)).unwrap();
        set.hold(pick);
    }
    let loads: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.in_flight()).collect();
    assert_eq!(loads.iter().max().unwrap() - loads.iter().min().unwrap(), 1, "{loads:?}");
}

#[tokio::test(start_paused = true)]
async fn labels_order_endpoints_as_go_micro_orders_them() {
    let data: Value = serde_json::from_str(GO_MICRO).unwrap();
    let describe = |(id, labels): (&String, &Value)| {
        let label = |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap().to_owned());
        let metadata = Arc::new(labels.as_object().unwrap().iter().map(label).collect());
        (id.clone(), Attributes { metadata, ..Attributes::default() })
    };
    let nodes = data["label"]["nodes"].as_object().unwrap();
    let set = Set::described(nodes.iter().map(describe).collect()).await;
    for case in data["label"]["cases"].as_array().unwrap() {
        let keys = case["config"].as_array().unwrap();
        let policy =
            keys.iter().fold(LabelOrder::new(), |policy, key| policy.then(key.as_str().unwrap(), "a"));
        let table = policy.table(&set.endpoints);
        let order: Vec<_> =
            (0..5).map(|attempt| set.endpoints[set.pick(&policy, &table, 0, attempt)].id()).collect();
        match case.get("order") {
            Some(expected) => assert_eq!(serde_json::json!(order[..4]), *expected),
            None => assert_eq!(case["first"], order[0]),
        }
        assert_eq!(order[4], order[0], "the order begins again");
    }
}
