//! One service: its versions, its endpoints with their figures, its methods with their shapes.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use micro_discover::{Endpoint, Method, Service, Shape};

use super::layout::{Tab, layout, missing, status};
use super::services::figures;
use super::spark::spark;
use crate::command::{self, Measured};
use crate::escape::escape;
use crate::web::live::{Block, blocks, id, within};
use crate::web::view::View;

/// `GET /services/{name}`.
pub(in crate::web) async fn get(State(view): State<View>, Path(name): Path<String>) -> Response {
    if view.catalog.service(&name).is_empty() {
        return missing(&view, &format!("No service {name:?} is registered."));
    }
    let blocks = render(&view, &name, &[]);
    let body = html! {
        div data-live={ "/live/services/" (escape(&name)) } {
            (status(&view))
            h2 #endpoints-title { "Endpoints" }
            div .scroll tabindex="0" role="region" aria-labelledby="endpoints-title" {
                table {
                    thead { tr {
                        th scope="col" { "Endpoint" } th scope="col" { "State" } th scope="col" { "Version" }
                        th scope="col" { "Address" } th scope="col" { "Zone" } th scope="col" .number { "Weight" }
                        th scope="col" { "Requests" } th scope="col" { "Latency" }
                        th scope="col" { "Says of itself" } th scope="col" { "Metadata" }
                    } }
                    tbody #endpoints data-blocks="" { @for row in within(&blocks, "endpoints") { (row) } }
                }
            }
            div #totals data-blocks="" { @for block in within(&blocks, "totals") { (block) } }
            h2 { "Methods" }
            div #methods data-blocks="" { @for block in within(&blocks, "methods") { (block) } }
        }
    };
    layout(&view, Tab::Services, &name, &body).into_response()
}

/// `GET /live/services/{name}`.
pub(in crate::web) async fn live(State(view): State<View>, Path(name): Path<String>) -> impl IntoResponse {
    let endpoints = view.catalog.service(&name).iter().map(|record| record.endpoints.len()).sum();
    let poll = view.polls.begin(&view.context, &name, endpoints);
    blocks(view, move |view| render(view, &name, &poll.latest()))
}

fn render(view: &View, name: &str, measured: &[Measured]) -> Vec<Block> {
    let records = view.catalog.service(name);
    let mut blocks = Vec::new();
    for record in records.iter() {
        for endpoint in &record.endpoints {
            let id = id("endpoint", (&record.version, &endpoint.id));
            let said = measured.iter().find(|each| each.id == endpoint.id && each.version == record.version);
            let html = row(view, record, endpoint, said, &id);
            blocks.push(Block { id, within: "endpoints", html });
        }
    }
    if blocks.is_empty() {
        let html = html! { tr #no-endpoints { td colspan="10" .bad { "Nobody serves it any more." } } };
        blocks.push(Block { id: "no-endpoints".to_owned(), within: "endpoints", html });
    }
    let totals = html! {
        div #total .scroll { table {
            caption { "All endpoints, the last minute" }
            thead { tr {
                th scope="col" .number { "Rate" } th scope="col" .number { "Errors" }
                th scope="col" .number { "p50" } th scope="col" .number { "p99" }
            } }
            tbody { tr { (figures(&view.traffic.figures(name))) } }
        } }
    };
    blocks.push(Block { id: "total".to_owned(), within: "totals", html: totals });
    for record in records.iter() {
        let id = id("methods", &record.version);
        let html = methods(name, record, &id);
        blocks.push(Block { id, within: "methods", html });
    }
    blocks
}

fn row(view: &View, record: &Service, endpoint: &Endpoint, said: Option<&Measured>, id: &str) -> Markup {
    let series = view.traffic.series(&record.name, &endpoint.id);
    let floats = |counts: &[u32]| counts.iter().map(|count| *count as f32).collect::<Vec<_>>();
    let (requests, failures) = (floats(&series.requests), floats(&series.failures));
    let (sum, failed) = (series.requests.iter().sum::<u32>(), series.failures.iter().sum::<u32>());
    let lately = series.failures.iter().rev().take(2).any(|failures| *failures > 0);
    let latest = series.millis.iter().rev().copied().find(|millis| *millis > 0.0).unwrap_or_default();
    html! {
        tr id=(id) {
            th scope="row" .mono { (endpoint.id) }
            td {
                @if endpoint.weight == 0 { span .warn { "draining" } }
                @else if lately { span .bad { "failing" } }
                @else if said.is_some_and(is_down) { span .bad { "does not answer" } }
                @else { span .good { "registered" } }
            }
            td { (record.version) }
            td .mono { (endpoint.address) }
            td { (endpoint.zone.as_deref().unwrap_or("–")) }
            td .number { (endpoint.weight) }
            td {
                (spark(&format!("{sum} requests in two minutes, {failed} of them failed"), &requests, &failures))
                (sum) @if failed > 0 { ", " span .bad { (failed) " failed" } }
            }
            td { (spark(&format!("mean latency, lately {latest:.1} ms"), &series.millis, &[])) (format!("{latest:.1} ms")) }
            td { (own_word(said)) }
            td .long { (pairs(endpoint.metadata.iter().chain(&record.metadata))) }
        }
    }
}

fn is_down(said: &Measured) -> bool {
    matches!(said.state, command::State::Unreachable | command::State::NotServing)
}

/// What an endpoint says of itself when it is asked, as micro-tower's servers and go-micro's do.
fn own_word(said: Option<&Measured>) -> Markup {
    let Some(said) = said else { return html! { span .quiet { "–" } } };
    let mut words = Vec::new();
    words.extend(said.uptime_seconds.map(|seconds| format!("up {}", span(seconds))));
    words.extend(said.requests.map(|requests| format!("{requests} requests")));
    words.extend(said.requests_per_second.map(|rate| format!("{rate:.1}/s")));
    words.extend(said.errors.filter(|errors| *errors > 0).map(|errors| format!("{errors} failed")));
    words.extend(said.memory_bytes.map(|bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0)));
    words.extend(said.threads.map(|threads| format!("{threads} threads")));
    html! { @if words.is_empty() { span .quiet { "–" } } @else { (words.join(", ")) } }
}

/// Seconds in the largest unit that fits, so that a row does not change each time.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => "under 1 min".to_owned(),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn pairs<'a>(metadata: impl Iterator<Item = (&'a String, &'a String)>) -> Markup {
    let text: Vec<_> = metadata.map(|(key, value)| format!("{key}={value}")).collect();
    html! { @if text.is_empty() { span .quiet { "–" } } @else { (text.join(", ")) } }
}

fn methods(service: &str, record: &Service, id: &str) -> Markup {
    html! {
        section id=(id) {
            h3 { "Version " (record.version) }
            @if record.methods.is_empty() {
                p .quiet { "It announces none. " a href={ "/call?service=" (escape(service)) } { "Ask it itself." } }
            }
            @for method in &record.methods { (outline(service, method)) }
        }
    }
}

fn outline(service: &str, method: &Method) -> Markup {
    html! {
        details {
            summary {
                code { (method.name) } " "
                @if !method.metadata.is_empty() { span .quiet { (pairs(method.metadata.iter())) } }
            }
            p { a href={ "/call?service=" (escape(service)) "&method=" (escape(&method.name)) } { "Call it" } }
            pre {
                "Request: " (shape(method.request.as_ref())) "\n\nResponse: " (shape(method.response.as_ref()))
            }
        }
    }
}

/// A message's outline as go-micro's command line writes it: a tab for each depth.
fn shape(shape: Option<&Shape>) -> String {
    let Some(shape) = shape else { return "{}".to_owned() };
    if shape.values.is_empty() {
        return "{}".to_owned();
    }
    let mut text = String::from("{\n");
    shape.values.iter().for_each(|value| field(&mut text, value, 1));
    text + "}"
}

fn field(text: &mut String, shape: &Shape, depth: usize) {
    let tabs = "\t".repeat(depth);
    if shape.values.is_empty() {
        text.push_str(&format!("{tabs}{} {}\n", shape.name, shape.kind));
        return;
    }
    text.push_str(&format!("{tabs}{} {} {{\n", shape.name, shape.kind));
    shape.values.iter().for_each(|value| field(text, value, depth + 1));
    text.push_str(&format!("{tabs}}}\n"));
}
