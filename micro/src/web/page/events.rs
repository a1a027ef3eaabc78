//! Events: publish one, and see them flow.

use std::convert::Infallible;

use axum::Form;
use axum::extract::{Query, State};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use maud::{Markup, html};
use micro_broker::{Event, Publisher, Subscribe};
use serde::Deserialize;
use tower::ServiceExt;

use super::layout::{Tab, layout};
use crate::causes::chain;
use crate::escape::escape;
use crate::web::view::View;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Followed {
    topic: String,
}

/// `GET /events[?topic=TOPIC]`.
pub(in crate::web) async fn get(State(view): State<View>, Query(followed): Query<Followed>) -> Markup {
    let topic = &followed.topic;
    let body = html! {
        p .status { "Broker: " span .mono { (view.broker.backend()) } }
        @if view.read_only { p .warn { "This dashboard is read-only: nothing can be published." } }
        @else {
            h2 { "Publish" }
            form .fields method="post" action="/events" data-stream="published" {
                label { "Topic" input name="topic" required value=(topic); }
                label { "Body" textarea name="body" spellcheck="false" {} }
                label { "Content type" input name="content_type" value="application/json"; }
                div { button type="submit" { "Publish" } }
            }
            pre #published role="status" {}
        }
        h2 #events-title { "Follow a topic" }
        form .row method="get" action="/events" {
            label { "Topic " span .quiet { "with wildcards as the broker has them" }
                input name="topic" required value=(topic);
            }
            button type="submit" { "Follow" }
        }
        @if !topic.is_empty() {
            div .scroll tabindex="0" role="region" aria-labelledby="events-title" {
                table {
                    caption { "Events published to " (topic) " from now on, newest first" }
                    thead { tr {
                        th scope="col" { "Topic" } th scope="col" { "Event" } th scope="col" { "Headers" } th scope="col" { "Body" }
                    } }
                    tbody data-feed={ "/events/stream?topic=" (escape(topic)) } {}
                }
            }
        }
    };
    layout(&view, Tab::Events, "Events", &body)
}

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Given {
    topic: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    content_type: String,
}

/// `POST /events`.
pub(in crate::web) async fn post(State(view): State<View>, Form(given): Form<Given>) -> Response {
    if view.read_only {
        return (StatusCode::FORBIDDEN, "this dashboard is read-only\n").into_response();
    }
    let mut event = Event::new(given.topic, given.body);
    if let Ok(kind) = HeaderValue::from_str(&given.content_type)
        && !kind.is_empty()
    {
        event.headers.insert(HeaderName::from_static("content-type"), kind);
    }
    let id = event.id.clone();
    match Publisher::new(view.broker).oneshot(event).await {
        Ok(_) => format!("published as {id}\n").into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{}\n", chain(&error))).into_response(),
    }
}

/// `GET /events/stream?topic=TOPIC`: events as rows, acknowledged as they are shown.
pub(in crate::web) async fn stream(State(view): State<View>, Query(followed): Query<Followed>) -> Response {
    let subscription = match view.broker.subscribe(Subscribe::to(followed.topic)).await {
        Ok(subscription) => subscription,
        Err(error) => return (StatusCode::BAD_GATEWAY, format!("{}\n", chain(&error))).into_response(),
    };
    let events = stream::unfold(subscription, |mut subscription| async {
        let delivery = subscription.next().await?;
        let row = row(delivery.event());
        // One that cannot be acknowledged comes again.
        delivery.ack().await.ok();
        Some((Ok::<_, Infallible>(Sent::default().event("item").data(row.into_string())), subscription))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// How much of a body is shown.
const SHOWN: usize = 4096;

fn row(event: &Event) -> Markup {
    let headers: Vec<_> = event
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("…")))
        .collect();
    let body = String::from_utf8_lossy(&event.body[..event.body.len().min(SHOWN)]);
    // A line break would end the line of the stream; a browser shows it as a space anyway.
    let body = body.replace(['\n', '\r'], " ");
    html! {
        tr {
            td { (event.topic) } td .mono { (event.id) } td .long { (headers.join(", ")) }
            td .long .mono { (body) @if event.body.len() > SHOWN { span .quiet { " … " (event.body.len()) " bytes" } } }
        }
    }
}
