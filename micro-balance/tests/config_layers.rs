//! Ejection, health checks and layers from a configuration, and what it is told when it says something else.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::time::Duration;

use micro_balance::{
    Ejection, FailurePercentage, Reason, SuccessRate,
    config::{self, Ask, Invalid, Layers},
    health::HealthCheck,
};

fn read(text: &str) -> Result<Layers, Invalid> {
    config::read(toml::Deserializer::parse(text).unwrap())
}

#[test]
fn nothing_said_means_ejection_by_default_and_no_layer() {
    let layers = read("").unwrap();
    assert_eq!(layers.ejection, Ejection::default());
    assert!(layers.retry.is_none() && layers.hedge.is_none() && layers.limit.is_none());
    assert!(layers.throttle.is_none() && layers.failfast.is_none() && layers.health_check.is_none());
    assert!(layers.timeout.call.is_none());
}

#[test]
fn ejection_is_read_whole() {
    let text = r#"
        [ejection]
        preset = "envoy"
        consecutive_failures = 7
        gateway_failures = 3
        local_failures = 4
        interval = "5s"
        base = "1s"
        max = "1m"
        jitter = "500ms"
        max_percent = 30
        panic_percent = 0
        enforcing = { success_rate = 50 }
        success_rate = { factor = 2.5, request_volume = 10 }
        failure_percentage = { threshold = 50, inclusive = true }
    "#;
    let expected = Ejection::envoy()
        .consecutive_failures(7)
        .gateway_failures(3)
        .local_failures(4)
        .interval(Duration::from_secs(5))
        .base(Duration::from_secs(1))
        .max(Duration::from_secs(60))
        .jitter(Duration::from_millis(500))
        .max_percent(30)
        .panic_percent(0)
        .enforcing(Reason::SuccessRate, 50)
        .success_rate(SuccessRate::default().factor(2.5).request_volume(10))
        .failure_percentage(FailurePercentage::default().threshold(50.0).inclusive(true));
    assert_eq!(read(text).unwrap().ejection, expected);
    assert_eq!(read("ejection = { preset = \"off\" }").unwrap().ejection, Ejection::off());
}

#[test]
fn a_health_check_says_when_and_how() {
    let checks = read("[health_check]\ninterval = \"3s\"\nask.http.path = \"/healthz\"")
        .unwrap()
        .health_check
        .unwrap();
    assert_eq!(checks.schedule, HealthCheck::default().interval(Duration::from_secs(3)));
    assert_eq!(checks.ask, Ask::Http { path: "/healthz".into() });
    let checks = read("[health_check]\nask = \"grpc\"").unwrap().health_check.unwrap();
    assert_eq!(checks.ask, Ask::Grpc { service: String::new(), unary: false });
}

#[test]
fn every_layer_is_read() {
    let text = r#"
        [timeout]
        call = "5s"
        attempt = "1s"
        idle = "30s"

        [retry]
        attempts = 4
        codes = [8, 14]
        statuses = [503]
        whole = 1024
        attempt_timeout = "1s"
        budget = { throttle = { max_tokens = 10, token_ratio = 0.5 } }
        backoff = { exponential = { base = "10ms", max = "1s", jitter = { around = { part = 0.2 } } } }

        [hedge]
        percentile = 0.95
        attempts = 3
        budget.window.ratio = 0.05

        [limit.vegas]
        initial = 10

        [throttle]
        k = 1.5
        window = "30s"

        [failfast]
        limit = "3s"
        queue = 10000
    "#;
    let layers = read(text).unwrap();
    assert_eq!(layers.timeout.attempt, Some(Duration::from_secs(1)));
    assert!(layers.retry.is_some() && layers.hedge.is_some() && layers.throttle.is_some());
    assert!(layers.failfast.is_some());
    assert_eq!(layers.limit.unwrap().limit(), 10);
    assert_eq!(read("limit.fixed.limit = 7").unwrap().limit.unwrap().limit(), 7);
}

#[test]
fn what_cannot_work_is_named_by_the_path_to_its_key() {
    for (text, key, why) in [
        ("retries = 3", "retries", "unknown field"),
        ("ejection.bases = \"1s\"", "ejection.bases", "unknown field"),
        ("ejection.base = \"soon\"", "ejection.base", "duration"),
        ("ejection.max_percent = 101", "ejection.max_percent", "0 to 100"),
        ("ejection.enforcing.luck = 1", "ejection", "no detector"),
        ("ejection.success_rate.factor = -1", "ejection.success_rate.factor", "from 0 on"),
        ("health_check.ask.http.page = \"/\"", "health_check.ask.http.page", "unknown field"),
        ("health_check.jitter = 2.0\nhealth_check.ask = \"tcp\"", "health_check.jitter", "0 to 1"),
        ("retry.attempts = 0", "retry.attempts", "at least 1"),
        ("retry.whole = -1", "retry.whole", "u64"),
        ("retry.attempt_timeout = 1", "retry.attempt_timeout", "string"),
        ("retry.codes = [17]", "retry", "no gRPC code"),
        ("retry.budget.window.ratio = 11.0", "retry.budget", "between 0 and 10"),
        ("retry.backoff.exponential.base = \"0s\"", "retry.backoff", "more than 0"),
        ("hedge.attempts = 2", "hedge", "percentile"),
        ("hedge.percentile = 1.5", "hedge", "between 0 and 1"),
        ("limit.aimd = { min = 9, max = 3 }", "limit", "over max"),
        ("limit.cubic = {}", "limit.cubic", "unknown variant"),
        ("throttle.k = 0.5", "throttle", "at least 1"),
        ("failfast.queue = 3", "failfast", "limit"),
        ("timeout.call = 5", "timeout.call", "string"),
    ] {
        let error = read(text).err().unwrap_or_else(|| panic!("{text:?} was taken"));
        assert_eq!(error.key(), key, "{text:?}: {error}");
        assert!(error.to_string().contains(why), "{text:?}: {error}");
    }
}
