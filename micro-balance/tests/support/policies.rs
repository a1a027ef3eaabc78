//! Every policy as configuration names it, and the ways in which some of them can be set.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use micro_balance::config::{self, Balancing};

/// By name, or as JSON where it takes more to say it.
pub const ALL: [&str; 31] = [
    "random",
    "round_robin",
    "weighted_round_robin",
    "smooth_weighted_round_robin",
    "earliest_deadline_first",
    "least_request",
    "least_of_all",
    "request_bias",
    "peak_ewma",
    "pick_first",
    "ring_hash",
    "maglev",
    "rendezvous",
    "modulo",
    "shard",
    "label_order",
    "override_host",
    "orca_weighted",
    "prequal",
    "random_aperture",
    r#"{ "least_request": { "choices": 4 } }"#,
    r#"{ "weighted_round_robin": { "clamped": true } }"#,
    r#"{ "peak_ewma": { "classic": true } }"#,
    r#"{ "ring_hash": { "bound": 1.25 } }"#,
    r#"{ "ring_hash": { "mode": "ketama", "header": "x-user" } }"#,
    r#"{ "ring_hash": { "mode": "envoy", "least": 64, "most": 512 } }"#,
    r#"{ "ring_hash": { "mode": "grpc" } }"#,
    r#"{ "maglev": { "size": 251 } }"#,
    r#"{ "aperture": { "instance": 0, "peers": 1 } }"#,
    r#"{ "first_attempts": { "labels": [["stage", "canary"]], "policy": "round_robin" } }"#,
    r#"{ "label_subset": { "by": [["version"]], "policy": "least_of_all" } }"#,
];

/// The configuration of this one.
pub fn configured(name: &str) -> Balancing {
    let named = serde_json::from_str(name).unwrap_or_else(|_| serde_json::Value::from(name));
    config::read(serde_json::json!({ "policy": named })).unwrap()
}
