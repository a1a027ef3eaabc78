//! A picture of who calls whom: callers on the left, what they call to the right of them.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::layout::{Tab, layout, seen, status};
use crate::escape::escape;
use crate::traffic::Edge;
use crate::web::live::{Block, blocks, within};
use crate::web::view::View;

/// Callers that do not say who they are.
const UNNAMED: &str = "(unnamed)";
/// More boxes than this are not drawn: the table has them all.
const BOXES: usize = 200;

/// `GET /topology`.
pub(in crate::web) async fn get(State(view): State<View>) -> Markup {
    let blocks = render(&view);
    let body = html! {
        div data-live="/live/topology" {
            (status(&view))
            p { "Who called whom in the last minute. Callers are known by the header " code { "micro-from-service" }
                ", or by the sidecar beside them." }
            div #seers data-blocks="" { @for block in within(&blocks, "seers") { (block) } }
            div #picture data-blocks="" { @for block in within(&blocks, "picture") { (block) } }
            h2 #edges-title { "The same as a table" }
            div #edges data-blocks="" { @for block in within(&blocks, "edges") { (block) } }
        }
    };
    layout(&view, Tab::Topology, "Topology", &body)
}

/// `GET /live/topology`.
pub(in crate::web) async fn live(State(view): State<View>) -> impl IntoResponse {
    blocks(view, render)
}

fn render(view: &View) -> Vec<Block> {
    let edges = view.traffic.edges();
    let services: Vec<_> = view.catalog.services().keys().cloned().collect();
    let picture = html! { div #map-block { (map(&edges, &services)) } };
    let table = html! { div #edges-block .scroll tabindex="0" role="region" aria-labelledby="edges-title" { (table(&edges)) } };
    vec![
        Block { id: "map-block".to_owned(), within: "picture", html: picture },
        Block { id: "edges-block".to_owned(), within: "edges", html: table },
        Block { id: "seen".to_owned(), within: "seers", html: seen(view) },
    ]
}

fn table(edges: &[Edge]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Caller" } th scope="col" { "Service" } th scope="col" .number { "Rate" }
                th scope="col" .number { "Errors" } th scope="col" .number { "p50" } th scope="col" .number { "p99" }
            } }
            tbody {
                @for edge in edges {
                    tr { td { (name(&edge.from)) } td { (edge.to) } (super::services::figures(&edge.figures)) }
                }
                @if edges.is_empty() { tr { td colspan="6" .quiet { "No requests were seen in the last minute." } } }
            }
        }
    }
}

fn name(from: &str) -> &str {
    if from.is_empty() { UNNAMED } else { from }
}

const BOX: (i32, i32) = (170, 34);
const STEP: (i32, i32) = (260, 54);

fn map(edges: &[Edge], services: &[String]) -> Markup {
    let columns = columns(edges, services);
    let mut places = BTreeMap::new();
    let mut heights = BTreeMap::new();
    for (name, column) in columns.iter().take(BOXES) {
        let height = heights.entry(*column).or_insert(0);
        places.insert(*name, (10 + *column as i32 * STEP.0, 10 + *height * STEP.1));
        *height += 1;
    }
    let width = 20 + BOX.0 + heights.keys().max().map_or(0, |column| *column as i32 * STEP.0);
    let height = 20 + heights.values().max().copied().unwrap_or(1) * STEP.1;
    html! {
        svg .map viewBox={ "0 0 " (width) " " (height) } role="group" aria-label="Services and who calls them" {
            @for edge in edges {
                @if let (Some(from), Some(to)) = (places.get(name(&edge.from)), places.get(edge.to.as_str())) {
                    path .edge .bad[edge.figures.failures > 0] d=(line(*from, *to))
                        stroke-width=(format!("{:.1}", 1.0 + edge.figures.rate().max(0.0).ln_1p())) {
                        title { (name(&edge.from)) " → " (edge.to) (format!(": {:.1}/s", edge.figures.rate())) }
                    }
                }
            }
            @for (name, (x, y)) in &places {
                @if services.iter().any(|service| service == name) {
                    a href={ "/services/" (escape(name)) } { (label(name, *x, *y)) }
                } @else { (label(name, *x, *y)) }
            }
        }
    }
}

fn label(name: &str, x: i32, y: i32) -> Markup {
    let short: String = if name.chars().count() > 19 {
        name.chars().take(18).chain(['…']).collect()
    } else {
        name.to_owned()
    };
    html! {
        rect x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="6" { title { (name) } }
        text x=(x + 10) y=(y + 22) { (short) }
    }
}

fn line((from_x, from_y): (i32, i32), (to_x, to_y): (i32, i32)) -> String {
    let (start, end) = ((from_x + BOX.0, from_y + BOX.1 / 2), (to_x, to_y + BOX.1 / 2));
    let bend = ((end.0 - start.0) / 2).max(40);
    format!(
        "M{},{} C{},{} {},{} {},{}",
        start.0,
        start.1,
        start.0 + bend,
        start.1,
        end.0 - bend,
        end.1,
        end.0,
        end.1
    )
}

/// How many calls away from a first caller each box stands; services that nobody calls stand first as well.
fn columns<'a>(edges: &'a [Edge], services: &'a [String]) -> BTreeMap<&'a str, usize> {
    let called: BTreeSet<_> = edges.iter().map(|edge| edge.to.as_str()).collect();
    let callers = edges.iter().map(|edge| name(&edge.from));
    let all: BTreeSet<_> =
        callers.chain(called.iter().copied()).chain(services.iter().map(String::as_str)).collect();
    let mut columns: BTreeMap<_, _> = all.into_iter().map(|name| (name, 0)).collect();
    // A circle of calls would push its boxes to the right for ever: there are no more columns than this.
    for _ in 0..6 {
        for edge in edges {
            let next = columns[name(&edge.from)] + 1;
            let column = columns.get_mut(edge.to.as_str()).filter(|column| **column < next && next <= 6);
            if let Some(column) = column.filter(|_| name(&edge.from) != edge.to) {
                *column = next;
            }
        }
    }
    columns
}
