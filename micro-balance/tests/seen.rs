//! What a balancer shows of itself: figures for the `metrics` facade, and spans for `tracing`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod scripted;
mod support;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use micro_balance::{
    Balance, Ejection, NotSent,
    policy::RoundRobin,
    retry::{Budget, RetryLayer},
};
use scripted::*;
use support::{FAST, Mood, fakes, settle};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span,
};

/// Where a span is made for the first time is noted for the whole process: the tests go one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// Keeps the last value of everything, by name and labels.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, f64>>>);

struct One(Kept, String);

impl Kept {
    fn of(&self, name: &str) -> Option<f64> {
        self.0.lock().unwrap().get(name).copied()
    }

    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(One(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
    }
}

impl One {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut kept = self.0.0.lock().unwrap();
        let value = kept.entry(self.1.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for One {
    fn increment(&self, more: u64) {
        self.change(|value| value + more as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|_| value as f64);
    }
}

impl GaugeFn for One {
    fn increment(&self, more: f64) {
        self.change(|value| value + more);
    }

    fn decrement(&self, less: f64) {
        self.change(|value| value - less);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

/// Adds up what is recorded.
impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.change(|sum| sum + value);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

#[test]
fn figures_tell_of_every_endpoint_and_of_ejections() {
    let _alone = ALONE.lock();
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        paused().block_on(async {
            let ([a, _b], hand, changes) = fakes(["a", "b"], Mood::Answers(Duration::from_millis(10)));
            let balance = Balance::builder(changes)
                .policy(RoundRobin::new())
                .ejection(Ejection::default().consecutive_failures(3))
                .service_name("greeter")
                .metrics(Duration::from_secs(1))
                .build();
            settle().await;
            a.set(Mood::Fails(Duration::ZERO));
            for _ in 0..10 {
                let _ = balance.clone().oneshot(()).await;
                settle().await;
            }
            sleep(Duration::from_secs(1)).await;
            let of = |name: &str| kept.of(&format!("micro_balance_{name}")).unwrap();
            assert_eq!(of("picks_total service=greeter endpoint=a"), 3.0);
            assert_eq!(of("failures_total service=greeter endpoint=a"), 3.0);
            assert_eq!(of("picks_total service=greeter endpoint=b"), 7.0);
            let seconds = of("latency_seconds service=greeter endpoint=b");
            assert!(
                (0.0612..=0.088).contains(&seconds),
                "7 answers of 10 ms, as far as a histogram tells: {seconds}"
            );
            assert_eq!(of("endpoint_ready service=greeter endpoint=a"), 0.0);
            assert_eq!(of("endpoint_ready service=greeter endpoint=b"), 1.0);
            assert_eq!(of("endpoints service=greeter state=ejected"), 1.0);
            let reason = "service=greeter reason=consecutive_failures";
            assert_eq!(of(&format!("ejections_total {reason} enforced=true")), 1.0);

            hand.remove("b");
            sleep(Duration::from_secs(2)).await;
            assert_eq!(of("endpoint_ready service=greeter endpoint=b"), 0.0, "it is gone");
        });
    });
}

#[test]
fn figures_tell_of_what_is_sent_again_why_and_what_the_budget_refused() {
    let _alone = ALONE.lock();
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        paused().block_on(async {
            let layer = RetryLayer::new()
                .attempts(2)
                .budget(Budget::new(0.5, 0, Duration::from_secs(60)).unwrap())
                .metrics("greeter");
            let send = async |answers: Vec<Answer>| {
                let _ = layer.layer(Scripted::new(answers)).oneshot(get("/")).await;
            };
            let of = |name: &str| kept.of(&format!("micro_balance_{name}")).unwrap_or(0.0);
            let (failed, refused) =
                ("retries_total service=greeter why=failed", "retries_refused_total service=greeter");
            let (unsent, left) =
                ("retries_total service=greeter why=not_sent", "retry_budget_left service=greeter");
            // Half of a retry is earned by each; the third may have one.
            send(vec![status(503, &[])]).await;
            assert_eq!([failed, refused, unsent].map(of), [0.0, 1.0, 0.0]);
            for _ in 0..3 {
                send(vec![status(200, &[])]).await;
            }
            send(vec![status(503, &[]), status(200, &[])]).await;
            assert_eq!([failed, refused, unsent, left].map(of), [1.0, 1.0, 0.0, 1.0]);
            let lost = || fail(NotSent::new("connection refused"));
            send(vec![lost(), lost(), status(200, &[])]).await;
            assert_eq!([failed, refused, unsent].map(of), [1.0, 1.0, 2.0]);
            send(vec![fail(NotSent::refused("REFUSED_STREAM")), status(200, &[])]).await;
            assert_eq!([failed, refused, unsent].map(of), [1.0, 1.0, 3.0]);
        });
    });
}

/// Writes down each span that is made.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut text = Text(span.metadata().name().to_owned());
        span.record(&mut text);
        let mut spans = self.0.lock().unwrap();
        spans.push(text.0);
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_span_names_the_endpoint_and_the_attempt() {
    let _alone = ALONE.lock();
    let spans = Spans::default();
    tracing::subscriber::with_default(spans.clone(), || {
        paused().block_on(async {
            let (_fakes, _hand, changes) = fakes(["a"], FAST);
            let balance = Balance::builder(changes).service_name("greeter").build();
            settle().await;
            balance.oneshot(()).await.unwrap();
        });
    });
    assert_eq!(*spans.0.lock().unwrap(), ["attempt service=\"greeter\" endpoint=\"a\" attempt=1"]);
}
