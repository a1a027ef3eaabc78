//! What the registry holds, as it is.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::layout::{Tab, layout, missing, status};
use crate::escape::escape;
use crate::web::live::{Block, blocks, id, within};
use crate::web::view::View;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Asked {
    service: Option<String>,
}

/// `GET /registry[?service=NAME]`: a page, or JSON for programs that say so by `accept` or `content-type`.
pub(in crate::web) async fn get(
    State(view): State<View>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let services = view.catalog.services();
    let records: Vec<_> = match &asked.service {
        Some(name) => view.catalog.service(name).to_vec(),
        None => services.values().flat_map(|records| records.iter().cloned()).collect(),
    };
    let wants_json = [header::ACCEPT, header::CONTENT_TYPE].iter().any(|name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.contains("application/json"))
    });
    match &asked.service {
        Some(_) if records.is_empty() && wants_json => (StatusCode::NOT_FOUND, "Not found").into_response(),
        Some(name) if records.is_empty() => missing(&view, &format!("No service {name:?} is registered.")),
        _ if wants_json => axum::Json(json!({ "services": records })).into_response(),
        name => {
            let live = match name {
                Some(name) => format!("/live/registry?service={}", escape(name)),
                None => "/live/registry".to_owned(),
            };
            let blocks = render(&view, asked.service.as_deref());
            let body = html! {
                div data-live=(live) {
                    (status(&view))
                    p { "Records as JSON, for programs: " code { "curl -H 'accept: application/json' …/registry" } }
                    div #records data-blocks="" { @for block in within(&blocks, "records") { (block) } }
                }
            };
            layout(&view, Tab::Registry, "Registry", &body).into_response()
        }
    }
}

/// `GET /live/registry[?service=NAME]`.
pub(in crate::web) async fn live(State(view): State<View>, Query(asked): Query<Asked>) -> impl IntoResponse {
    blocks(view, move |view| render(view, asked.service.as_deref()))
}

fn render(view: &View, only: Option<&str>) -> Vec<Block> {
    let services = view.catalog.services();
    let shown = services.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    shown
        .map(|(name, records)| {
            let id = id("record", name);
            let json = serde_json::to_string_pretty(&**records).unwrap_or_else(|error| error.to_string());
            let html = html! {
                details id=(id) open[only.is_some()] { summary { (name) } pre tabindex="0" { (json) } }
            };
            Block { id, within: "records", html }
        })
        .collect()
}
