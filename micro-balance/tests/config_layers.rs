//! Ejection, health checks and layers from a configuration, and what it is told when it says something else.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::time::Duration;

use http::{HeaderName, StatusCode};
use micro_balance::{
    Ejection, FailurePercentage, Reason, SuccessRate,
    breaker::{BreakerLayer, Rate},
    config::{self, Ask, Invalid, Layers},
    health::HealthCheck,
    hedge::HedgeLayer,
    retry::{Backoff, Budget, RetryLayer, When},
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
    assert!(layers.breaker.is_none());
    assert!(layers.timeout.call.is_none());
}

#[test]
fn retries_wait_by_any_of_the_rules() {
    for rule in [
        "exponential.factor = 1.6",
        "linear = { base = \"1s\", step = \"1s\", max = \"9s\" }",
        "decorrelated = { base = \"25ms\", max = \"250ms\" }",
        "constant.wait = \"1s\"",
    ] {
        assert!(read(&format!("retry.backoff.{rule}")).unwrap().retry.is_some(), "{rule}");
    }
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
        enforcing = { success_rate = 50, gateway_failures = 0 }
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
        .enforcing(Reason::GatewayFailures, 0)
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
    let Ask::Http(page) = checks.ask else { panic!("{checks:?}") };
    assert_eq!((&*page.path, &*page.expected), ("/healthz", &[200..=200][..]));
    assert!(page.host.is_none() && page.retriable.is_empty() && page.degraded.is_none());
    let text = r#"
        [health_check]
        ask.http = { path = "/a?b", host = "greeter", expected = [204, "300-399"], retriable = ["500-502"], degraded = "x-tired" }
    "#;
    let Ask::Http(page) = read(text).unwrap().health_check.unwrap().ask else { panic!("{text}") };
    assert_eq!(
        (page.expected.clone(), page.retriable.clone()),
        (vec![204..=204, 300..=399], vec![500..=502])
    );
    assert!(page.host.as_ref().unwrap() == "greeter" && page.degraded.as_ref().unwrap() == "x-tired");
    assert!(page.check::<()>().is_ok());
    let text = r#"
        [health_check]
        ask.grpc = { service = "greeter.Greeter", unary = true }
        interval = "3s"
        unhealthy_interval = "4s"
        healthy_edge_interval = "5s"
        unhealthy_edge_interval = "6s"
        idle_interval = "7s"
        timeout = "2s"
        initial_jitter = "8s"
        jitter = 0.5
        healthy_threshold = 9
        readmits = false
        unhealthy_threshold = 10
    "#;
    let schedule = HealthCheck::default()
        .interval(Duration::from_secs(3))
        .unhealthy_interval(Duration::from_secs(4))
        .healthy_edge_interval(Duration::from_secs(5))
        .unhealthy_edge_interval(Duration::from_secs(6))
        .idle_interval(Duration::from_secs(7))
        .timeout(Duration::from_secs(2))
        .initial_jitter(Duration::from_secs(8))
        .jitter(0.5)
        .healthy_threshold(9)
        .readmits(false)
        .unhealthy_threshold(10);
    let checks = read(text).unwrap().health_check.unwrap();
    assert_eq!(checks.schedule, schedule);
    assert_eq!(checks.ask, Ask::Grpc { service: "greeter.Greeter".into(), unary: true });
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
        response = "1h"

        [retry]
        attempts = 4
        codes = [8, "UNAVAILABLE"]
        statuses = [503]
        headers = ["x-should-retry"]
        whole = 1024
        whole_timeout = "1s"
        share_time = true
        retry_after_jitter = 0.5
        budget = { throttle = { max_tokens = 10, token_ratio = 0.5 } }
        backoff = { exponential = { base = "10ms", max = "1s", jitter = { around = { part = 0.2 } } } }

        [hedge]
        percentile = 0.95
        attempts = 3
        non_fatal.codes = [14]
        budget.window.ratio = 0.05

        [limit.vegas]
        initial = 10

        [throttle]
        k = 1.5
        window = "30s"
        min_rate = 2.5

        [failfast]
        limit = "3s"
        queue = 10000

        [breaker]
        consecutive_failures = 6
        success_rate = { required = 0.5, window = "1m", min_requests = 20 }
        backoff.constant.wait = "1m"
    "#;
    let layers = read(text).unwrap();
    assert_eq!(layers.timeout.attempt, Some(Duration::from_secs(1)));
    assert_eq!(layers.timeout.response, Some(Duration::from_secs(3_600)));
    assert!(layers.retry.is_some() && layers.hedge.is_some() && layers.throttle.is_some());
    let retry = format!("{:?}", layers.retry.as_ref().unwrap());
    assert!(layers.failfast.is_some() && retry.contains("retry_after_jitter: 0.5"), "{retry}");
    let throttle = format!("{:?}", layers.throttle.as_ref().unwrap());
    assert!(throttle.contains("min_rate: 2.5, window: 30.0"), "{throttle}");
    let breaker = format!("{:?}", layers.breaker.unwrap());
    assert!(breaker.contains("failures: 6") && breaker.contains("required: 0.5"), "{breaker}");
    let throttle =
        read("throttle = { preset = \"envoy\", aggression = 2.0, at_most = 0.5 }").unwrap().throttle;
    let throttle = format!("{throttle:?}");
    assert!(throttle.contains("aggression: 2.0, most: 0.5, success: true"), "{throttle}");
    for rate in ["{}", "{ requests = 100 }", "{ required = 0.0 }", "{ window = \"10s\", exact = true }"] {
        assert!(read(&format!("breaker.success_rate = {rate}")).unwrap().breaker.is_some(), "{rate}");
    }
    assert_eq!(layers.limit.unwrap().limit(), 10);
    assert_eq!(read("limit.fixed.limit = 7").unwrap().limit.unwrap().limit(), 7);
}

/// A layer of a configuration is the one that code would make.
#[tokio::test(start_paused = true)]
async fn every_setting_of_a_layer_is_heeded() {
    let ms = Duration::from_millis;
    let retry = |text: &str| format!("{:?}", read(text).unwrap().retry.unwrap().seed(1));
    let ours = RetryLayer::new().seed(1);
    let as_written = ours.clone().attempts(9).at_most(9).keep(7).look(ms(5)).whole(6).whole_timeout(ms(900));
    let as_written = as_written.share_time().retry_after_jitter(0.5).backoff(Backoff::constant(ms(30)));
    let text = "retry = { attempts = 9, keep = 7, look = \"5ms\", whole = 6, whole_timeout = \"900ms\", \
                share_time = true, retry_after_jitter = 0.5, backoff.constant.wait = \"30ms\" }";
    assert_eq!(retry(text), format!("{as_written:?}"));
    assert_eq!(retry("retry = {}"), format!("{ours:?}"));
    let text = "retry = { codes = [8], statuses = [429], headers = [\"x-again\"] }";
    let when = When::never().code(8).status(StatusCode::TOO_MANY_REQUESTS);
    let when = when.header(HeaderName::from_static("x-again"));
    assert_eq!(retry(text), format!("{:?}", ours.when(when)));

    let hedge = |text: &str| format!("{:?}", read(text).unwrap().hedge.unwrap().budget(Budget::endless()));
    let ours = HedgeLayer::after(ms(20)).budget(Budget::endless());
    assert_eq!(hedge("hedge.after = \"20ms\""), format!("{ours:?}"));
    let text =
        "hedge = { after = \"20ms\", attempts = 4, keep = 7, non_fatal = { codes = [4], statuses = [] } }";
    let ours = ours.attempts(4).keep(7).non_fatal(When::never().code(4));
    assert_eq!(hedge(text), format!("{ours:?}"));

    let breaker = |text: &str| format!("{:?}", read(text).unwrap().breaker.unwrap());
    let ours = BreakerLayer::new();
    assert_eq!(breaker("breaker = {}"), format!("{ours:?}"));
    for (text, rate) in [
        ("{ required = 0.5, window = \"1m\" }", Rate::within(0.5, ms(60_000)).unwrap()),
        ("{ window = \"1m\", exact = true, min_requests = 9 }", {
            Rate::exact(0.8, ms(60_000)).unwrap().min_requests(9)
        }),
        ("{ requests = 70 }", Rate::of_requests(0.8, 70).unwrap()),
    ] {
        let ours = ours.clone().success_rate(rate);
        assert_eq!(breaker(&format!("breaker.success_rate = {text}")), format!("{ours:?}"));
    }
    let text = "breaker = { consecutive_failures = 7, backoff.constant.wait = \"9s\" }";
    let ours = ours.consecutive_failures(7).backoff(Backoff::constant(ms(9_000)));
    assert_eq!(breaker(text), format!("{ours:?}"));
    for (text, budget) in [
        ("{}", Budget::new(0.1, 5, ms(2_000))),
        ("{ ratio = 0.3, min_per_second = 4, ttl = \"9s\" }", Budget::new(0.3, 4, ms(9_000))),
    ] {
        let ours = RetryLayer::new().seed(1).budget(budget.unwrap());
        assert_eq!(retry(&format!("retry.budget.window = {text}")), format!("{ours:?}"));
    }
    let ours = RetryLayer::new().seed(1).budget(Budget::concurrent(30.0, 4).unwrap());
    assert_eq!(retry("retry.budget.concurrent = { percent = 30.0, min = 4 }"), format!("{ours:?}"));
}

#[test]
fn part_of_what_is_found_may_be_ejected_for_any_reason_that_is_looked_for() {
    for (reason, on, off) in [
        ("consecutive_failures", "consecutive_failures = 3", "consecutive_failures = 0"),
        ("gateway_failures", "gateway_failures = 3", "gateway_failures = 0"),
        ("local_failures", "local_failures = 3", "local_failures = 0"),
        ("local_failures", "local_failures = 3", "base = \"1s\""),
        ("success_rate", "success_rate = {}", "preset = \"off\""),
        ("local_success_rate", "success_rate = {}, local_failures = 3", "success_rate = {}"),
        (
            "local_success_rate",
            "success_rate = {}, local_failures = 3",
            "preset = \"off\", local_failures = 3",
        ),
        ("failure_percentage", "failure_percentage = {}", "preset = \"off\""),
        (
            "local_failure_percentage",
            "failure_percentage = {}, local_failures = 3",
            "failure_percentage = {}",
        ),
        ("latency", "latency = {}", "base = \"1s\""),
    ] {
        let reads = |settings: &str| read(&format!("ejection = {{ {settings}, enforcing.{reason} = 50 }}"));
        assert!(reads(on).is_ok(), "{reason}: {on}: {:?}", reads(on).err());
        assert!(reads(off).is_err(), "{reason}: {off}");
    }
    assert_eq!(Ejection::default().max_percent(150), Ejection::default().max_percent(100));
    assert_eq!(Ejection::default().panic_percent(150), Ejection::default().panic_percent(100));
    let whole = Ejection::default().enforcing(Reason::Failures, 100);
    assert_eq!(Ejection::default().enforcing(Reason::Failures, 150), whole);
}

#[test]
fn a_page_may_mean_well_by_any_status_there_is() {
    let text = "health_check.ask.http = { path = \"/a\", expected = [100, 599] }";
    let Ask::Http(page) = read(text).unwrap().health_check.unwrap().ask else { panic!("{text}") };
    assert_eq!(page.expected, [100..=100, 599..=599]);
}

/// Only what was written can be refused.
#[test]
fn a_limit_that_is_not_told_where_to_begin_begins_within_its_range() {
    for limit in ["aimd.min = 30", "aimd = { min = 1, max = 10 }", "vegas.max = 10", "gradient2.min = 50"] {
        assert!(read(&format!("limit.{limit}")).is_ok(), "{limit}");
    }
    for (limit, begins) in [
        ("limit = \"gradient\"", 3),
        ("limit.gradient = { min = 7, buffer = 0.5, percentile = 0.9, interval = \"50ms\" }", 7),
        ("limit.gradient.probe = { requests = 20, every = \"30s\", jitter = 0.1 }", 3),
        ("limit.gradient = { min = 1, max = 1, fastest = \"5ms\" }", 1),
    ] {
        assert_eq!(read(limit).unwrap().limit.unwrap().limit(), begins, "{limit}");
    }
}

#[test]
fn what_cannot_work_is_named_by_the_path_to_its_key() {
    for (text, key, why) in [
        ("retries = 3", "retries", "unknown field"),
        ("ejection.bases = \"1s\"", "ejection.bases", "unknown field"),
        ("ejection.base = \"soon\"", "ejection.base", "duration"),
        ("ejection.base = \"0s\"", "ejection.base", "more than no time"),
        ("ejection.interval = \"0s\"", "ejection.interval", "more than no time"),
        ("ejection.max_percent = 101", "ejection.max_percent", "0 to 100"),
        ("ejection.panic_percent = 101", "ejection.panic_percent", "0 to 100"),
        ("ejection.preset = \"finagle\"", "ejection.preset", "unknown variant"),
        ("ejection.enforcing.luck = 1", "ejection.enforcing.luck", "unknown field"),
        ("ejection.enforcing.latency = 101", "ejection.enforcing.latency", "0 to 100"),
        ("ejection.success_rate.factor = -1", "ejection.success_rate.factor", "from 0 on"),
        ("ejection.success_rate.margin = nan", "ejection.success_rate.margin", "0 to 100"),
        ("ejection.success_rate.hosts = 5", "ejection.success_rate.hosts", "unknown field"),
        ("ejection.failure_percentage.threshold = 101", "ejection.failure_percentage.threshold", "0 to 100"),
        ("ejection.failure_percentage.volume = 5", "ejection.failure_percentage.volume", "unknown field"),
        ("ejection.latency.factor = 0.5", "ejection.latency.factor", "from 1 on"),
        ("ejection.latency.intervals = 0", "ejection.latency.intervals", "at least 1"),
        ("ejection = \"off\"", "ejection", "preset"),
        ("ejection.enforcing.latency = 50", "ejection", "enforcing latency, which is not looked for"),
        ("ejection.enforcing.local_success_rate = 50", "ejection", "which is not looked for"),
        ("ejection.enforcing.local_failure_percentage = 50", "ejection", "which is not looked for"),
        ("ejection = { preset = \"off\", enforcing.success_rate = 9 }", "ejection", "not looked for"),
        ("ejection.success_rate = true", "ejection.success_rate", "may be empty"),
        ("ejection.latency.median = 1", "ejection.latency.median", "unknown field"),
        ("health_check.interval = \"1s\"", "health_check", "ask"),
        ("health_check = \"tcp\"", "health_check", "{ ask = "),
        (
            "health_check.ask.http = { path = \"/\", expected = [] }",
            "health_check.ask.http.expected",
            "at least one status",
        ),
        ("health_check = { ask = \"tcp\", rise = 2 }", "health_check.rise", "unknown field"),
        ("health_check = { ask = \"icmp\" }", "health_check.ask", "unknown variant"),
        ("health_check = { ask = \"tcp\", interval = \"0s\" }", "health_check.interval", "more than no time"),
        ("health_check = { ask = \"tcp\", timeout = \"0s\" }", "health_check.timeout", "more than no time"),
        (
            "health_check = { ask = \"tcp\", healthy_threshold = 0 }",
            "health_check.healthy_threshold",
            "at least 1",
        ),
        ("health_check.ask.http.page = \"/\"", "health_check.ask.http.page", "unknown field"),
        ("health_check.ask.http.path = \"healthz\"", "health_check.ask.http.path", "/healthz"),
        ("health_check.ask.http.path = \"/a b\"", "health_check.ask.http.path", "/healthz"),
        (
            "health_check.ask.http = { path = \"/\", expected = [\"9-99\"] }",
            "health_check.ask.http.expected[0]",
            "200-299",
        ),
        (
            "health_check.ask.http = { path = \"/\", retriable = [500, 600] }",
            "health_check.ask.http.retriable[1]",
            "200-299",
        ),
        (
            "health_check.ask.http = { path = \"/\", degraded = \"a b\" }",
            "health_check.ask.http.degraded",
            "header",
        ),
        ("health_check.ask.grpc.name = \"\"", "health_check.ask.grpc.name", "unknown field"),
        ("health_check.jitter = 2.0\nhealth_check.ask = \"tcp\"", "health_check.jitter", "0 to 1"),
        ("timeout.call = 5", "timeout.call", "string"),
        ("timeout.call = \"0s\"", "timeout.call", "more than no time"),
        ("timeout.attempt = \"0s\"", "timeout.attempt", "more than no time"),
        ("timeout.idle = \"0s\"", "timeout.idle", "more than no time"),
        ("timeout.total = \"1s\"", "timeout.total", "unknown field"),
        ("retry.attempts = 0", "retry.attempts", "at least 1"),
        ("retry.whole = -1", "retry.whole", "u64"),
        ("retry.whole_timeout = 1", "retry.whole_timeout", "string"),
        ("retry.whole_timeout = \"0s\"", "retry.whole_timeout", "more than no time"),
        ("retry.share_time = \"10ms\"", "retry.share_time", "boolean"),
        ("retry.codes = [14, 17]", "retry.codes[1]", "17 is no gRPC code"),
        ("retry.codes = [0]", "retry.codes[0]", "no gRPC code"),
        ("retry.codes = [-1]", "retry.codes[0]", "-1 is no gRPC code"),
        ("retry.codes = [\"OK\"]", "retry.codes[0]", "\"OK\" is no gRPC code"),
        ("retry.codes = [\"503\"]", "retry.codes[0]", "as \"UNAVAILABLE\" is"),
        ("retry.codes = [true]", "retry.codes[0]", "14 or \"UNAVAILABLE\""),
        ("retry.statuses = [600]", "retry.statuses[0]", "600 is no HTTP status"),
        ("retry.headers = [\"a b\"]", "retry.headers[0]", "no name of a header"),
        ("retry = 3", "retry", "{ attempts = 3 }"),
        ("retry.times = 3", "retry.times", "unknown field"),
        ("retry.budget.window.ratio = 11.0", "retry.budget.window.ratio", "between 0 and 10"),
        ("retry.budget.window.ratio = nan", "retry.budget.window.ratio", "between 0 and 10"),
        ("retry.budget.window.min_per_second = 1000001", "retry.budget.window.min_per_second", "1000000"),
        ("retry.budget.window.ttl = \"61s\"", "retry.budget.window.ttl", "between 1 s and 60 s"),
        (
            "retry.budget.throttle = { max_tokens = 1001, token_ratio = 1.0 }",
            "retry.budget.throttle.max_tokens",
            "1000",
        ),
        (
            "retry.budget.throttle = { max_tokens = 0, token_ratio = 1.0 }",
            "retry.budget.throttle.max_tokens",
            "1000",
        ),
        (
            "retry.budget.throttle = { max_tokens = 9, token_ratio = 0.0 }",
            "retry.budget.throttle.token_ratio",
            "0.001",
        ),
        ("retry.budget.throttle.max_tokens = 9", "retry.budget.throttle", "token_ratio"),
        ("retry.budget.concurrent.percent = 101", "retry.budget.concurrent.percent", "between 0 and 100"),
        ("retry.budget.endless.min = 1", "retry.budget.endless.min", "unknown field"),
        ("retry.budget.tokens = {}", "retry.budget.tokens", "unknown variant"),
        ("retry.backoff.exponential.base = \"0s\"", "retry.backoff.exponential.base", "more than 0"),
        ("retry.backoff.exponential.base = \"1s\"", "retry.backoff", "at most the last"),
        ("retry.backoff.exponential.factor = 0.5", "retry.backoff.exponential.factor", "at least 1"),
        (
            "retry.backoff.exponential.jitter.around.part = 2",
            "retry.backoff.exponential.jitter.around.part",
            "0 to 1",
        ),
        (
            "retry.backoff.exponential.jitter.above.part = nan",
            "retry.backoff.exponential.jitter.above.part",
            "0 to 1",
        ),
        (
            "retry.backoff.linear = { base = \"2s\", step = \"1s\", max = \"1s\" }",
            "retry.backoff",
            "over max",
        ),
        ("retry.backoff.decorrelated = { base = \"2s\", max = \"1s\" }", "retry.backoff", "at most the last"),
        ("retry.backoff.decorrelated.base = \"0s\"", "retry.backoff.decorrelated.base", "more than 0"),
        ("retry.backoff.constant.waits = \"1s\"", "retry.backoff.constant.waits", "unknown field"),
        ("hedge.attempts = 2", "hedge", "percentile"),
        ("hedge = { after = \"1ms\", percentile = 0.9 }", "hedge", "either"),
        ("hedge.percentile = 1.5", "hedge.percentile", "between 0 and 1"),
        ("hedge = { after = \"1ms\", attempts = 1 }", "hedge.attempts", "2 to 5"),
        ("hedge = { after = \"1ms\", attempts = 6 }", "hedge.attempts", "2 to 5"),
        (
            "hedge = { after = \"1ms\", budget.window.ratio = -1.0 }",
            "hedge.budget.window.ratio",
            "between 0 and 10",
        ),
        ("hedge = { after = \"1ms\", non_fatal.codes = [99] }", "hedge.non_fatal.codes[0]", "no gRPC code"),
        ("hedge = { after = \"1ms\", delay = \"1ms\" }", "hedge.delay", "unknown field"),
        ("limit.fixed.limit = 0", "limit.fixed.limit", "at least 1"),
        ("limit.fixed.queue = 3", "limit", "go together"),
        ("limit.fixed.max = 3", "limit.fixed.max", "unknown field"),
        ("limit.aimd = { min = 9, max = 3 }", "limit", "over max"),
        ("limit.aimd = { initial = 10 }", "limit", "not within 20 and 200"),
        ("limit.aimd.backoff_ratio = 0.4", "limit.aimd.backoff_ratio", "from 0.5 on and under 1"),
        ("limit.aimd.backoff_ratio = 1.0", "limit.aimd.backoff_ratio", "from 0.5 on and under 1"),
        ("limit.aimd.timeout = \"0s\"", "limit.aimd.timeout", "more than no time"),
        ("limit.aimd.alpha = 1", "limit.aimd.alpha", "unknown field"),
        ("limit.vegas = { initial = 20, max = 10 }", "limit", "not within 1 and 10"),
        ("limit.vegas = { alpha = 6, beta = 3 }", "limit", "over beta"),
        ("limit.vegas.smoothing = 1.5", "limit.vegas.smoothing", "up to 1"),
        ("limit.vegas.smoothing = 0.0", "limit.vegas.smoothing", "over 0"),
        ("limit.vegas.alpha = 9", "limit", "go together"),
        ("limit.vegas.min = 1", "limit.vegas.min", "unknown field"),
        ("limit.gradient = { min = 9, max = 3 }", "limit", "over max"),
        ("limit.gradient.buffer = -0.1", "limit.gradient.buffer", "at least 0"),
        ("limit.gradient.percentile = 50", "limit.gradient.percentile", "0 to 1"),
        ("limit.gradient.interval = \"0s\"", "limit.gradient.interval", "more than no time"),
        ("limit.gradient.probe.requests = 0", "limit.gradient.probe.requests", "at least 1"),
        ("limit.gradient = { fastest = \"5ms\", probe.requests = 9 }", "limit", "is not measured"),
        ("limit.gradient.initial = 5", "limit.gradient.initial", "unknown field"),
        ("limit.gradient2 = { initial = 500 }", "limit", "not within 20 and 200"),
        ("limit.gradient2.smoothing = -0.1", "limit.gradient2.smoothing", "over 0"),
        ("limit.gradient2.tolerance = 0.5", "limit.gradient2.tolerance", "at least 1"),
        ("limit.gradient2.long = 1", "limit.gradient2.long", "unknown field"),
        ("limit.cubic = {}", "limit.cubic", "unknown variant"),
        ("throttle.k = 0.5", "throttle.k", "at least 1"),
        ("throttle.aggression = 0.5", "throttle.aggression", "at least 1"),
        ("throttle.min_rate = -1.0", "throttle.min_rate", "from 0 on"),
        ("retry.retry_after_jitter = 1.5", "retry.retry_after_jitter", "0 to 1"),
        ("throttle.at_most = 80", "throttle.at_most", "0 to 1"),
        ("throttle.preset = \"google\"", "throttle.preset", "unknown variant"),
        ("throttle.window = \"0s\"", "throttle.window", "more than no time"),
        ("throttle.ratio = 0.5", "throttle.ratio", "unknown field"),
        ("breaker = 5", "breaker", "may be empty"),
        ("breaker.failures = 5", "breaker.failures", "unknown field"),
        ("breaker.success_rate = 0.8", "breaker.success_rate", "{ required = "),
        ("breaker.success_rate.required = 80", "breaker.success_rate.required", "0 to 1"),
        ("breaker.success_rate.window = \"0s\"", "breaker.success_rate.window", "more than no time"),
        ("breaker.success_rate.requests = 0", "breaker.success_rate.requests", "at least 1"),
        ("breaker.success_rate = { requests = 9, window = \"9s\" }", "breaker.success_rate", "either"),
        ("breaker.success_rate = { requests = 9, min_requests = 9 }", "breaker.success_rate", "of a window"),
        ("breaker.success_rate = { requests = 9, exact = true }", "breaker.success_rate", "of a window"),
        ("breaker.backoff.constant.waits = \"1s\"", "breaker.backoff.constant.waits", "unknown field"),
        ("failfast = \"3s\"", "failfast", "{ limit = "),
        ("timeout = \"5s\"", "timeout", "{ call = "),
        ("failfast.queue = 3", "failfast", "limit"),
        ("failfast = { limit = \"3s\", wait = \"1s\" }", "failfast.wait", "unknown field"),
    ] {
        let error = read(text).err().unwrap_or_else(|| panic!("{text:?} was taken"));
        assert_eq!(error.key(), key, "{text:?}: {error}");
        assert!(error.to_string().contains(why), "{text:?}: {error}");
    }
}
