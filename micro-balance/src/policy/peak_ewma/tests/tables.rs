//! Costs, by the tables of Envoy, tower, linkerd and Finagle.

use serde_json::Value;

use super::*;
use crate::classify::Fault;

fn table() -> Value {
    serde_json::from_str(include_str!("../../../../tests/data/peak_ewma.json")).unwrap()
}

/// Within a thousandth: a tick of the clock, and what is left of a number in 32 bits.
fn near(cost: f64, expected: f64) -> bool {
    (cost - expected).abs() <= expected * 1e-3
}

/// `data/policies/peak_ewma.json`, `envoy_cost`: milliseconds.
#[test]
fn costs_are_those_of_envoys_tests() {
    let policy = PeakEwma::new().default_latency(Duration::from_millis(10)).classic();
    for row in table()["envoy_cost"].as_array().unwrap() {
        let endpoint = endpoint(&policy);
        if let Some(took) = row["rtt"].as_f64() {
            record(&policy, &endpoint, millis(took), 0);
        }
        (0..row["requests"].as_u64().unwrap()).for_each(|_| endpoint.stats().start());
        let (cost, expected) =
            (f64::from(policy.cold_cost(&endpoint, 0)) / 1e6, row["cost"].as_f64().unwrap());
        assert!((cost - expected).abs() < 0.1, "{cost} instead of {expected}: {row}");
    }
}

/// `data/policies/peak_ewma.json`, `tower_test`: nanoseconds.
#[test]
fn costs_follow_those_of_towers_tests_through_time() {
    for (_, test) in table()["tower_test"].as_object().unwrap() {
        let policy = PeakEwma::new()
            .decay(Duration::from_secs(test["decay_s"].as_u64().unwrap()))
            .default_latency(millis(test["default_rtt_ms"].as_f64().unwrap()))
            .classic();
        let endpoint = endpoint(&policy);
        for step in test["steps"].as_array().unwrap() {
            let now = step["t_ms"].as_u64().unwrap() * 1_000_000;
            match step["event"].as_str().unwrap_or_default() {
                "" => {}
                event if event.contains("completes") => {
                    record(&policy, &endpoint, Duration::from_millis(200), now);
                    endpoint.stats().finish();
                }
                _ => endpoint.stats().start(),
            }
            let cost = f64::from(policy.cold_cost(&endpoint, now));
            let bounds = |key: &str| step[key].as_f64();
            let within = step["cost_ns_between"].as_array().is_none_or(|list| {
                let [from, to] = [0, 1].map(|at| list[at].as_f64().unwrap());
                (from..=to).contains(&cost)
            });
            let holds = bounds("cost_ns_eq").is_none_or(|it| near(cost, it))
                && bounds("cost_ns_gt").is_none_or(|it| cost > it)
                && bounds("cost_ns_lt").is_none_or(|it| cost < it)
                && within;
            assert!(holds, "{cost} at {step}");
        }
    }
}

/// `data/policies/peak_ewma.json`, `linkerd`: seconds.
#[test]
fn loads_and_the_penalty_are_linkerds() {
    let linkerd = &table()["linkerd"];
    for row in linkerd["tests"].as_array().unwrap() {
        let latency = row["default_rtt_ms"].as_f64().map_or(Duration::from_millis(30), millis);
        let policy = PeakEwma::new().default_latency(latency).classic();
        let endpoint = endpoint(&policy);
        if let Some(took) = row["rtt_s"].as_f64() {
            record(&policy, &endpoint, Duration::from_secs_f64(took), 0);
        }
        if row["status"].is_u64() {
            endpoint.stats().failed(Fault::Gateway, None, Some(crate::clock::Moment::MIN));
        }
        (0..row["pending"].as_u64().unwrap_or_default()).for_each(|_| endpoint.stats().start());
        let load = f64::from(policy.cold_cost(&endpoint, 0)) / 1e9;
        let holds = row["load"].as_f64().is_none_or(|it| near(load, it))
            && row["load_gt"].as_f64().is_none_or(|it| load > it);
        assert!(holds, "{load} at {row}");
    }
    let penalty = &linkerd["penalty"];
    let policy = PeakEwma::new().classic();
    let finagle: Value = serde_json::from_str(include_str!("../../../../tests/data/finagle.json")).unwrap();
    for decay in [&table()["finagle"]["decay_s"], &finagle["peak_ewma"]["decay_s"]] {
        assert_eq!(*decay, policy.timing.decay.as_secs());
    }
    assert_eq!(policy.timing.default_latency, millis(linkerd["profile_default_rtt_ms"].as_f64().unwrap()));
    assert_eq!(policy.timing.decay, Duration::from_secs(linkerd["decay_s"].as_u64().unwrap()));
    let base = millis(penalty["base_ms"].as_f64().unwrap());
    assert_eq!(policy.timing.penalty, base);
    let endpoint = endpoint(&policy);
    record(&policy, &endpoint, base, 0);
    let load = f64::from(policy.cold_cost(&endpoint, 10_000_000_000)) / 1e9;
    assert!(near(load, penalty["decay_5s_after_10s"].as_f64().unwrap()), "{load}");
}
