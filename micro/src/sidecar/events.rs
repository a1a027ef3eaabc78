//! `/broker`: events published by POST, and read as `text/event-stream`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode, header};
use micro_broker::{Delivery, Envelope, Error, Event, Subscribe, Subscription};
use serde_json::json;

use super::socket;
use super::state::{ID, Inner};
use crate::proxy::Fault;
use crate::transcode::metadata;

/// How long a broker may take to confirm an event.
pub(super) const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

type Fields = Query<HashMap<String, String>>;

/// `POST`: publishes the body, with the request's headers.
pub(super) async fn publish(
    State(inner): State<Arc<Inner>>,
    Query(query): Fields,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(topic) = topic(&query) else { return without_topic() };
    let event = event(topic, &headers, body);
    let id = event.id.to_string();
    match inner.broker.publish(event, CONFIRM_WITHIN).await {
        Ok(()) => Json(json!({ "id": id })).into_response(),
        Err(error) => refused(&error),
    }
}

/// An event of `topic`, with those of a request's headers that mean something to whoever hears of it.
pub(super) fn event(topic: &str, headers: &HeaderMap, body: Bytes) -> Event {
    let mut event = Event::new(topic, body);
    event.headers = metadata(headers);
    if let Some(id) = event.headers.remove("micro-id").as_ref().and_then(|id| id.to_str().ok()) {
        event.id = id.into();
    }
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        event.headers.insert(header::CONTENT_TYPE, kind.clone());
    }
    event
}

/// `GET`: the events of a topic, as a WebSocket for those who ask for one.
pub(super) async fn subscribe(
    State(inner): State<Arc<Inner>>,
    Query(query): Fields,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Some(topic) = topic(&query) else { return without_topic() };
    let Ok(permit) = inner.open.clone().try_acquire_owned() else {
        let detail = "there are too many subscribers";
        return Fault::new(ID, StatusCode::SERVICE_UNAVAILABLE, detail).response().into_response();
    };
    let queue = query.get("queue").filter(|queue| !queue.is_empty());
    let subscribe = Subscribe::to(topic).in_flight(16);
    let subscribe = match queue {
        Some(queue) => subscribe.group(queue.as_str()),
        None => subscribe,
    };
    let upgrade = match upgrade {
        Ok(upgrade) => Some(upgrade),
        Err(wrong) if headers.contains_key(header::UPGRADE) => return wrong.into_response(),
        Err(_) => None,
    };
    let subscription = match inner.broker.subscribe(subscribe).await {
        Ok(subscription) => subscription,
        Err(error) => return refused(&error),
    };
    let Some(upgrade) = upgrade else {
        let events = events(subscription).map(move |event| {
            let _permit = &permit;
            event
        });
        let events = events.take_until(inner.stop.clone().cancelled_owned());
        return Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    };
    let socket = socket::Talk { topic: topic.to_owned(), shared: queue.is_some(), headers, subscription };
    upgrade.max_message_size(socket::MOST_BYTES).on_upgrade(move |upgraded| async move {
        let _permit = permit;
        socket.run(upgraded, &inner).await;
    })
}

/// Each event as one of ours that was written: it is acknowledged when the next one is asked for, so what a client that
/// went away has not read comes again.
fn events(subscription: Subscription) -> impl futures_core::Stream<Item = Result<Sent, Infallible>> + Send {
    stream::unfold((subscription, None::<Delivery>), |(mut subscription, last)| async move {
        if let Some(delivery) = last {
            // What the broker does not hear comes again.
            let _ = delivery.ack().await;
        }
        let delivery = subscription.next().await?;
        let sent =
            Sent::default().id(plain(&delivery.event().id.to_string())).data(written(delivery.event()));
        Some((Ok(sent), (subscription, Some(delivery))))
    })
}

/// An event as go-micro's sidecar writes it.
pub(super) fn written(event: &Event) -> String {
    String::from_utf8_lossy(&event.to_json(Envelope::GoMicro)).into_owned()
}

/// An id without what would end its line.
fn plain(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).collect()
}

fn topic(query: &HashMap<String, String>) -> Option<&str> {
    query.get("topic").map(String::as_str).filter(|topic| !topic.is_empty())
}

fn without_topic() -> Response {
    (StatusCode::BAD_REQUEST, "Topic not specified\n").into_response()
}

fn refused(error: &Error) -> Response {
    let status = match error {
        Error::Invalid { .. } => StatusCode::BAD_REQUEST,
        Error::Unconfirmed { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Fault::new(ID, status, crate::causes::chain(error)).response().into_response()
}
