//! Many services in a real browser: how soon they are seen, how soon their changes, and what churn leaves behind.
//!
//! The figures are printed. `--ignored` runs it with 1 000 services and 10 000 endpoints and an hour's churn.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as Named, State};
use axum::routing::post;
use micro::command::Context;
use micro::web::Web;
use micro_discover::{Endpoint, Registry, Service};
use serde_json::Value;

use crate::browser::{browser, listen};

/// How many endpoints each service has.
const EACH: usize = 10;

fn service(name: &str) -> Service {
    Service::new(name).version("1.0.0")
}

fn endpoint(name: &str, number: usize) -> Endpoint {
    Endpoint::new(format!("{name}-{number}"), format!("10.0.0.{number}:8080").parse().unwrap())
        .metadata("zone", "here")
}

async fn fill(registry: &Arc<dyn Registry>, services: usize) {
    for number in 0..services {
        let name = format!("service-{number}");
        let all = (0..EACH).map(|number| endpoint(&name, number));
        let record = all.fold(service(&name), Service::endpoint);
        registry.announce(&record, Duration::ZERO).await.unwrap();
    }
}

/// The service `name` with one endpoint more.
fn one_more(name: &str) -> Service {
    service(name).endpoint(endpoint(name, EACH))
}

/// Endpoints come and go, and each tenth time a service that never was and never will be again.
async fn churn(registry: &Arc<dyn Registry>, services: usize, passed: &AtomicUsize, changes: usize) {
    for _ in 0..changes / 2 {
        let number = passed.fetch_add(1, Relaxed);
        let name = match number % 10 {
            0 => format!("passing-{number}"),
            _ => format!("service-{}", number * 31 % services),
        };
        registry.announce(&one_more(&name), Duration::ZERO).await.unwrap();
        tokio::time::sleep(Duration::from_millis(8)).await;
        registry.withdraw(&one_more(&name)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
}

/// The registry, and how many changes have passed.
type Shared = (Arc<dyn Registry>, Arc<AtomicUsize>);

/// Changes the registry as it is told.
fn control(registry: Arc<dyn Registry>, services: usize) -> Router {
    let passed = Arc::new(AtomicUsize::new(0));
    let add = async |State((registry, _)): State<Shared>, Named(name): Named<String>| {
        registry.announce(&one_more(&name), Duration::ZERO).await.unwrap();
    };
    let remove = async |State((registry, _)): State<Shared>, Named(name): Named<String>| {
        registry.withdraw(&one_more(&name)).await.unwrap();
    };
    let pass = move |State((registry, passed)): State<Shared>, Named(changes): Named<usize>| async move {
        churn(&registry, services, &passed, changes).await;
    };
    Router::new()
        .route("/add/{name}", post(add))
        .route("/remove/{name}", post(remove))
        .route("/churn/{changes}", post(pass))
        .route("/sizes", post(async || format!("{EACH} {}", EACH + 1)))
        .route("/memory", post(async || memory().to_string()))
        .with_state((registry, passed))
}

/// Bytes of memory that this process has.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// What a browser has measured of a dashboard with `services`, over so many `changes`.
async fn measure(services: usize, changes: usize) -> Option<Value> {
    let chromium = browser()?;
    let context = Context::open(&format!("memory:web-scale-{services}")).unwrap();
    let registry = context.registry().clone();
    fill(&registry, services).await;
    let web = listen(Web::builder(context).build().router()).await;
    let control = listen(control(registry, services)).await;
    let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/browser/scale.mjs");
    let run = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(steps)
            .env("CHROMIUM", chromium)
            .env("WEB", format!("http://{web}"))
            .env("CONTROL", format!("http://{control}"))
            .env("SERVICES", services.to_string())
            .env("CHANGES", changes.to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{services} services, {} endpoints, {changes} changes: {told}", services * EACH);
    Some(serde_json::from_str(&told).unwrap())
}

/// How many times what there was once is there in the end.
fn grown(measured: &Value, what: &str) -> f64 {
    let at = |when: &str| measured[when][what].as_f64().unwrap();
    at("last") / at("first")
}

/// That a page has no more than before of what came and went.
fn assert_nothing_left(measured: &Value) {
    assert!(grown(measured, "nodes") < 1.05, "elements are left behind: {measured}");
    assert!(grown(measured, "listeners") < 1.05, "listeners are left behind: {measured}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_services_are_shown_and_what_comes_and_goes_leaves_nothing_behind() {
    let Some(measured) = measure(200, 400).await else { return };
    assert_eq!(measured["rows"], 200);
    // Other tests use this process's memory, too.
    assert_nothing_left(&measured);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes and the machine for itself"]
async fn a_thousand_services_are_seen_at_once_and_their_changes_soon() {
    let Some(measured) = measure(1000, 3600).await else { return };
    assert_eq!(measured["rows"], 1000);
    assert!(measured["paint"].as_f64().unwrap() <= 1000.0, "{measured}");
    assert!(measured["update99"].as_f64().unwrap() <= 250.0, "{measured}");
    assert_nothing_left(&measured);
    assert!(grown(&measured, "heap") < 1.3, "the page's memory grows: {measured}");
    assert!(grown(&measured, "server") < 1.3, "the server's memory grows: {measured}");
}
