//! Policies that share by weight.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use micro_balance::{
    Chance,
    policy::{Context, EarliestDeadlineFirst, Policy, Random, SmoothWeightedRoundRobin, WeightedRoundRobin},
};
use serde_json::Value;

use crate::endpoints::{Set, numbers};

const STRIDE: &str = include_str!("../data/grpc_wrr_static_stride.json");
const SMOOTH: &str = include_str!("../data/nginx_swrr.json");
const DEADLINE: &str = include_str!("../data/envoy_edf_wrr_slowstart.json");

fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn floats(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Weighs endpoints by these numbers.
fn measured(start: u32, weights: Vec<f64>) -> WeightedRoundRobin {
    WeightedRoundRobin::starting_at(start)
        .weigh(move |endpoint| weights[endpoint.id().parse::<usize>().unwrap()])
}

#[tokio::test(start_paused = true)]
async fn static_stride_counts_as_grpc_does() {
    for case in data(STRIDE)["counts"].as_array().unwrap() {
        let Some(weights) = case["weights"].as_array() else { continue };
        let weights: Vec<f64> = weights.iter().map(|weight| weight.as_f64().unwrap()).collect();
        let set = Set::weighing(&vec![1; weights.len()]).await;
        let shares = set.shares(&measured(0, weights).clamped(), case["picks"].as_u64().unwrap() as usize);
        match case["largest"].as_u64() {
            Some(largest) => assert_eq!(*shares.iter().max().unwrap() as u64, largest, "{case}"),
            None => assert_eq!(shares, numbers::<usize>(&case["counts"]), "{case}"),
        }
    }
    let mut weights = vec![1.0; 20];
    weights[0] = 81.0;
    let shares = Set::weighing(&[1; 20]).await.shares(&measured(0, weights).clamped(), 69);
    assert_eq!((shares[0], &shares[1..]), (50, &[1; 19][..]));
}

#[tokio::test(start_paused = true)]
async fn static_stride_goes_in_the_order_that_grpc_goes_in() {
    let sequences = &data(STRIDE)["sequences"];
    // Go counts before it looks, so it starts one further.
    for (name, start, clamped) in [("cxx_from_0", 0, true), ("go_from_0", 1, false)] {
        for (weights, order) in sequences[name].as_object().unwrap() {
            let weights: Vec<f64> = weights.split(',').map(|weight| weight.parse().unwrap()).collect();
            let set = Set::weighing(&vec![1; weights.len()]).await;
            let policy = measured(start, weights);
            let policy = if clamped { policy.clamped() } else { policy };
            let order = numbers::<usize>(order);
            assert_eq!(set.picks(&policy, order.len()), order, "{name}");
        }
    }
}

/// From any start, and where a counter of 32 bits, which is grpc-java's, begins again.
#[tokio::test(start_paused = true)]
async fn static_stride_gives_what_grpc_java_tests() {
    let table = data(include_str!("../data/grpc_java_stride.json"));
    let order = numbers::<usize>(&table["order"]["picks"]);
    let weights = floats(&table["order"]["weights"]);
    let set = Set::weighing(&vec![1; weights.len()]).await;
    assert_eq!(set.picks(&measured(0, weights), order.len()), order);
    for start in [0, 1, 7, 4_294_967_295] {
        for case in table["counts"].as_array().unwrap() {
            let weights = floats(&case["weights"]);
            let set = Set::weighing(&vec![1; weights.len()]).await;
            let counts = numbers::<usize>(&case["counts"]);
            assert_eq!(set.shares(&measured(start, weights), 6), counts, "{case} from {start}");
        }
    }
    let picks = table["picks_of_shares"].as_u64().unwrap() as usize;
    for case in table["shares"].as_array().unwrap() {
        let weights = floats(&case["weights"]);
        let set = Set::weighing(&vec![1; weights.len()]).await;
        let total: f64 = weights.iter().sum();
        let start = case["start"].as_u64().unwrap() as u32;
        for (count, weight) in set.shares(&measured(start, weights.clone()), picks).into_iter().zip(weights) {
            let off = (count as f64 / picks as f64 - weight / total).abs();
            assert!(off < table["tolerance"].as_f64().unwrap(), "{case}: {count} of {weight}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_picks_by_weight_are_within_two_of_the_shares() {
    let weights = [1, 10, 2, 20, 67];
    let set = Set::weighing(&weights).await;
    for start in 0..1_000 {
        let shares = set.shares(&WeightedRoundRobin::starting_at(start), 100);
        for (share, weight) in shares.iter().zip(weights) {
            assert!(share.abs_diff(weight as usize) <= 2, "{shares:?} from {start}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_measured_weight_is_at_least_a_hundredth_of_the_mean() {
    let of_the_least = |policy: WeightedRoundRobin, set: &Set| set.shares(&policy, 100_000)[0];
    let mut weights = vec![1.0; 10];
    weights[0] = 0.000_1;
    let set = Set::weighing(&[1; 10]).await;
    let kept = of_the_least(measured(0, weights.clone()).clamped(), &set);
    assert!(kept.abs_diff(100) <= 2, "{kept}: a hundredth of 0.9, of 9 in all");
    let meant = of_the_least(measured(0, weights), &set);
    assert!((1..=2).contains(&meant), "{meant}: as little as it can be");
}

#[tokio::test(start_paused = true)]
async fn fewer_than_two_weights_known_is_round_robin() {
    for weights in [vec![0.0, 0.0, 0.0], vec![0.0, 7.0, 0.0], vec![f64::NAN, -1.0, 3.0]] {
        let set = Set::weighing(&[1, 1, 1]).await;
        assert_eq!(set.picks(&measured(0, weights), 6), [0, 1, 2, 0, 1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn smooth_goes_in_the_order_that_nginx_goes_in() {
    for case in data(SMOOTH)["cases"].as_array().unwrap() {
        let order = numbers::<usize>(&case["seq"]);
        let set = Set::weighing(&numbers::<u32>(&case["weights"])).await;
        assert_eq!(set.picks(&SmoothWeightedRoundRobin::starting_at(0), order.len()), order);
    }
}

#[tokio::test(start_paused = true)]
async fn any_round_of_smooth_and_of_earliest_deadline_is_exact() {
    let weights = [5, 1, 7, 2];
    let set = Set::weighing(&weights).await;
    let total: usize = weights.iter().map(|&weight| weight as usize).sum();
    for start in 0..total {
        for shares in [
            set.shares(&SmoothWeightedRoundRobin::starting_at(start), total),
            set.shares(&EarliestDeadlineFirst::starting_at(start), total),
        ] {
            assert_eq!(shares, weights.map(|weight| weight as usize));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn weights_too_large_for_a_round_keep_their_shares() {
    let set = Set::weighing(&[65_535, 1, 32_768]).await;
    for shares in [
        set.shares(&SmoothWeightedRoundRobin::starting_at(0), 98_304),
        set.shares(&EarliestDeadlineFirst::starting_at(0), 98_304),
    ] {
        assert!(shares[0].abs_diff(65_535) <= 2 && shares[2].abs_diff(32_768) <= 2 && shares[1] >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn earliest_deadline_goes_in_the_order_that_envoy_goes_in() {
    let data = data(DEADLINE);
    for case in data["weighted"].as_array().unwrap().iter().chain(data["seed"].as_array().unwrap()) {
        // Envoy keeps its queue when only weights change; here the new order starts at once.
        let weights = case.get("weights").or_else(|| case.get("rebuild_weights"));
        let Some(weights) = weights else { continue };
        let start = case["random"].as_u64().unwrap_or(0) as usize;
        let order = numbers::<usize>(&case["seq"]);
        let set = Set::weighing(&numbers::<u32>(weights)).await;
        assert_eq!(set.picks(&EarliestDeadlineFirst::starting_at(start), order.len()), order, "{case}");
    }
    let first = &data["init_distribution"];
    let set = Set::weighing(&numbers::<u32>(&first["weights"])).await;
    let mut counts = vec![0_usize; 3];
    (0..10).for_each(|seed| counts[set.picks(&EarliestDeadlineFirst::starting_at(seed), 1)[0]] += 1);
    assert_eq!(counts, numbers::<usize>(&first["counts"]));
}

#[tokio::test(start_paused = true)]
async fn random_follows_weights() {
    let weights = [1, 2, 3, 4, 90];
    let shares = Set::weighing(&weights).await.shares(&Random, 100_000);
    let squares = shares.iter().zip(weights).map(|(&share, weight)| {
        let expected = f64::from(weight) * 1_000.0;
        (share as f64 - expected).powi(2) / expected
    });
    // Four degrees of freedom, p > 0.001.
    assert!(squares.sum::<f64>() < 18.47, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn rounds_are_exact_over_eight_threads_at_once() {
    let weights = [5_u32, 1, 7, 2];
    let set = Set::weighing(&weights).await;
    let policy = SmoothWeightedRoundRobin::new();
    let table = policy.table(&set.endpoints);
    let shares: [AtomicUsize; 4] = Default::default();
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (policy, table, endpoints, shares) = (&policy, &table, &set.endpoints, &shares);
            scope.spawn(move || {
                let chance = Chance::new(seed);
                for _ in 0..15_000 {
                    let index = policy.pick(table, endpoints, &Context::new(&chance)).unwrap();
                    shares[index].fetch_add(1, Relaxed);
                }
            });
        }
    });
    assert_eq!(shares.map(AtomicUsize::into_inner), weights.map(|weight| weight as usize * 8_000));
}
