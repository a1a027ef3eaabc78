//! What the gateway answers itself, about itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use tonic::body::Body;

use super::stats::Stats;

/// What is said of the gateway itself.
#[derive(Clone, Default)]
pub(super) struct Own {
    pub(super) stats: Stats,
    prometheus: Option<PrometheusHandle>,
    draining: Arc<AtomicBool>,
}

impl Own {
    pub(super) fn new(prometheus: Option<PrometheusHandle>) -> Self {
        Self { prometheus, ..Self::default() }
    }

    /// From now on the gateway is not ready: it is about to stop.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The answer to a request that is for the gateway itself, which may be `synced` with its registry.
    pub(super) fn answer<B>(&self, request: &Request<B>, synced: bool) -> Option<Response<Body>> {
        let path = request.uri().path();
        let response = match path {
            "/healthz" | "/livez" => text("text/plain", "ok\n".to_owned()),
            "/readyz" if self.draining.load(Relaxed) => not_ready("stopping\n"),
            "/readyz" if !synced => not_ready("the registry has not answered yet\n"),
            "/readyz" => text("text/plain", "ok\n".to_owned()),
            "/metrics" => match &self.prometheus {
                Some(prometheus) => text("text/plain; version=0.0.4", prometheus.render()),
                None => return None,
            },
            "/stats" => answer_stats(&self.stats, request.headers()),
            _ => return None,
        };
        Some(match *request.method() {
            Method::GET | Method::HEAD => response,
            _ => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        })
    }
}

/// A page for people, JSON for programs: for those that say so in either header.
pub(crate) fn answer_stats(stats: &Stats, headers: &HeaderMap) -> Response<Body> {
    let json = stats.json();
    let says = |name| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        value.is_some_and(|value| value.contains("application/json"))
    };
    if says(header::CONTENT_TYPE) || says(header::ACCEPT) {
        return text("application/json", json.to_string());
    }
    let row = |count: &serde_json::Value| {
        let codes = &count["status_codes"];
        let cells = [
            &count["timestamp"],
            &count["total_reqs"],
            &codes["20x"],
            &codes["30x"],
            &codes["40x"],
            &codes["50x"],
        ];
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = json["counters"].as_array().into_iter().flatten().map(row).collect();
    let [started, memory, threads] =
        ["started", "memory", "threads"].map(|key| json[key].to_string().replace('"', ""));
    text(
        "text/html; charset=utf-8",
        format!(
            "<!doctype html><title>stats</title><h1>Stats</h1><p>started {started}, memory {memory}, threads {threads}</p>\
             <table><tr><th>time</th><th>all</th><th>20x</th><th>30x</th><th>40x</th><th>50x</th></tr>{rows}</table>"
        ),
    )
}

fn not_ready(why: &str) -> Response<Body> {
    let mut response = text("text/plain", why.to_owned());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn text(kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
