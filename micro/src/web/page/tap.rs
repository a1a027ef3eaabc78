//! Requests as they end.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use maud::{Markup, html};
use tokio::sync::broadcast::error::RecvError;

use super::layout::{Tab, layout, seen};
use crate::traffic::{Exchange, Seen};
use crate::web::view::View;

/// `GET /tap`.
pub(in crate::web) async fn get(State(view): State<View>) -> Markup {
    let body = html! {
        p { "Requests that end from now on, newest first. Contents are not shown." }
        (seen(&view))
        div .row {
            label { "Show only lines with" input #wanted type="search" autocomplete="off"; }
            button type="button" data-pause="" { "Stop" }
        }
        h2 #tap-title { "Requests" }
        div .scroll tabindex="0" role="region" aria-labelledby="tap-title" {
            table {
                thead { tr {
                    th scope="col" { "Time (UTC)" } th scope="col" { "Caller" } th scope="col" { "Service" }
                    th scope="col" { "Method" } th scope="col" { "Status" } th scope="col" .number { "Took" }
                    th scope="col" { "Endpoint" } th scope="col" { "Request" }
                } }
                tbody data-feed="/tap/stream" data-wanted="wanted" {}
            }
        }
    };
    layout(&view, Tab::Tap, "Tap", &body)
}

/// `GET /tap/stream`.
pub(in crate::web) async fn stream(State(view): State<View>) -> impl IntoResponse {
    let events = stream::unfold(view.traffic.follow(), |mut feed| async {
        let row = match feed.recv().await {
            Ok(seen) => match &*seen {
                Seen::Request(exchange) => row(exchange),
                Seen::Missed(more) => missed(*more),
            },
            Err(RecvError::Lagged(more)) => missed(more),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(Event::default().event("item").data(row.into_string())), feed))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn missed(more: u64) -> Markup {
    html! { tr { td colspan="8" .warn { (more) " more requests: too many to be shown one by one." } } }
}

fn row(exchange: &Exchange) -> Markup {
    html! {
        tr {
            td .mono { (exchange.time_of_day()) }
            td { (exchange.from) } td { (exchange.service) } td .long { (exchange.method) }
            td .bad[!exchange.ok] .good[exchange.ok] { (exchange.status) }
            td .number { (format!("{:.1} ms", exchange.millis)) }
            td .mono { (exchange.endpoint) } td .mono { (exchange.id) }
        }
    }
}
