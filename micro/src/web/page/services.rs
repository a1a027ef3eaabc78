//! The first page: every service, and the web apps among them.

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::layout::{Tab, layout, seen, status};
use crate::escape::escape;
use crate::traffic::Figures;
use crate::web::live::{Block, blocks, id, within};
use crate::web::view::View;

/// `GET /`.
pub(in crate::web) async fn get(State(view): State<View>) -> Markup {
    let blocks = render(&view);
    let body = html! {
        div data-live="/live/services" {
            (status(&view))
            h2 #apps-title { "Web apps" }
            ul #apps .cards data-blocks="" aria-labelledby="apps-title" { @for app in within(&blocks, "apps") { (app) } }
            h2 #services-title { "Services" }
            div #seers data-blocks="" { @for block in within(&blocks, "seers") { (block) } }
            div .row {
                label { "Filter"
                    input type="search" data-filter="services" autocomplete="off";
                }
                p #filtered .quiet aria-live="polite" {}
            }
            div .scroll tabindex="0" role="region" aria-labelledby="services-title" {
                table {
                    caption { "Rates, errors and latencies are of the last minute." }
                    thead { tr {
                        th scope="col" { "Service" } th scope="col" { "Versions" }
                        th scope="col" .number { "Endpoints" } th scope="col" .number { "Methods" }
                        th scope="col" .number { "Rate" } th scope="col" .number { "Errors" }
                        th scope="col" .number { "p50" } th scope="col" .number { "p99" }
                    } }
                    tbody #services data-blocks="" { @for row in within(&blocks, "services") { (row) } }
                }
            }
        }
    };
    layout(&view, Tab::Services, "Services", &body)
}

/// `GET /live/services`.
pub(in crate::web) async fn live(State(view): State<View>) -> impl IntoResponse {
    blocks(view, render)
}

fn render(view: &View) -> Vec<Block> {
    let services = view.catalog.services();
    let apps = services.keys().filter_map(|name| view.app(name));
    let mut blocks: Vec<_> = apps
        .map(|app| {
            let id = id("app", app);
            let html = html! { li id=(id) { a href={ "/" (escape(app)) "/" } { (app) } } };
            Block { id, within: "apps", html }
        })
        .collect();
    if blocks.is_empty() {
        let html = html! { li #no-apps .quiet { "None is registered below " code { (view.namespace) } "." } };
        blocks.push(Block { id: "no-apps".to_owned(), within: "apps", html });
    }
    for (name, records) in services.iter() {
        let id = id("service", name);
        let endpoints: usize = records.iter().map(|record| record.endpoints.len()).sum();
        let methods = records.iter().map(|record| record.methods.len()).max().unwrap_or_default();
        let versions: Vec<_> = records.iter().map(|record| record.version.as_str()).collect();
        let html = html! {
            tr id=(id) {
                th scope="row" { a href={ "/services/" (escape(name)) } { (name) } }
                td { (versions.join(", ")) }
                td .number { (endpoints) }
                td .number { (methods) }
                (figures(&view.traffic.figures(name)))
            }
        };
        blocks.push(Block { id, within: "services", html });
    }
    blocks.push(Block { id: "seen".to_owned(), within: "seers", html: seen(view) });
    if services.is_empty() {
        let html = html! {
            tr #no-services { td colspan="8" .quiet {
                "No service is registered. Try " code { "micro register greeter --address 127.0.0.1:50051" } "."
            } }
        };
        blocks.push(Block { id: "no-services".to_owned(), within: "services", html });
    }
    blocks
}

/// Four cells of a table: rate, errors, and two latencies.
pub(super) fn figures(figures: &Figures) -> Markup {
    if figures.requests == 0 {
        return html! { @for _ in 0..4 { td .number .quiet { "–" } } };
    }
    html! {
        td .number { (format!("{:.1}/s", figures.rate())) }
        td .number .bad[figures.failures > 0] { (format!("{:.1} %", figures.error_share() * 100.0)) }
        td .number { (millis(figures.p50_ms)) }
        td .number { (millis(figures.p99_ms)) }
    }
}

fn millis(millis: f64) -> String {
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}
