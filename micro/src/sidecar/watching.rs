//! `/registry` as it changes: whole sets as `text/event-stream`, go-micro's results as a WebSocket.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use micro_discover::{Service, Watch};
use tokio::time::sleep;

use super::registry::written;
use super::results::Known;
use super::socket::{MOST_BYTES, Pulse, taken, write};
use super::state::Inner;
use crate::catalog::{Catalog, Services};

/// Changes of all services that follow each other so closely are one.
const GATHER: Duration = Duration::from_millis(100);

/// Every set, an event each.
pub(super) fn events(inner: &Inner, service: Option<String>) -> Response {
    let Ok(permit) = inner.open.clone().try_acquire_owned() else { return full() };
    let stop = inner.stop.clone().cancelled_owned();
    let events = sets(inner, service).map(move |set| {
        let _permit = &permit;
        Ok::<_, Infallible>(Event::default().data(written(&set).to_string()))
    });
    Sse::new(events.take_until(stop)).keep_alive(KeepAlive::default()).into_response()
}

/// What makes of each set the next one, a message each.
pub(super) fn socket(inner: Arc<Inner>, service: Option<String>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(permit) = inner.open.clone().try_acquire_owned() else { return full() };
    upgrade.max_message_size(MOST_BYTES).on_upgrade(move |socket| async move {
        let _permit = permit;
        tell(socket, sets(&inner, service), &inner).await;
    })
}

async fn tell(mut socket: WebSocket, mut sets: BoxStream<'static, Vec<Service>>, inner: &Inner) {
    let (mut known, mut pulse) = (Known::default(), Pulse::new());
    loop {
        tokio::select! {
            Some(set) = sets.next() => {
                for result in known.turn(set) {
                    if write(&mut socket, Message::text(result.to_string())).await.is_none() {
                        return;
                    }
                }
            }
            message = socket.recv() => match message {
                // There is nothing to say here.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Pong(_))) => pulse.heard(),
                Some(Ok(Message::Ping(_))) => {
                    pulse.heard();
                    if taken(&mut socket).await.is_none() {
                        return;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            () = pulse.due() => {
                if pulse.ask(&mut socket).await.is_none() {
                    return;
                }
            }
            () = inner.stop.cancelled() => break,
        }
    }
    let frame = CloseFrame { code: close_code::AWAY, reason: "the sidecar stops".into() };
    let _ = write(&mut socket, Message::Close(Some(frame))).await;
}

/// The records of `service`, or of every one, now and whenever they change.
fn sets(inner: &Inner, service: Option<String>) -> BoxStream<'static, Vec<Service>> {
    match service {
        Some(name) => Watch::new(inner.registry.clone(), name).boxed(),
        None => all(inner.catalog.get_or_init(|| Catalog::new(inner.registry.clone())).clone()),
    }
}

fn all(catalog: Catalog) -> BoxStream<'static, Vec<Service>> {
    let records = |services: &Services| services.values().flat_map(|set| set.iter().cloned()).collect();
    let changes = catalog.changes();
    let told = stream::unfold((catalog, changes, false), move |(catalog, mut changes, goes_on)| async move {
        if goes_on {
            changes.changed().await.ok()?;
            sleep(GATHER).await;
        } else {
            catalog.settled().await;
        }
        let set = records(&changes.borrow_and_update());
        Some((set, (catalog, changes, true)))
    });
    told.boxed()
}

fn full() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "too many clients are watching").into_response()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn that_there_is_no_service_is_told_as_well_once_the_registry_can_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("registry");
        fs::write(&place, "no directory").unwrap();
        let registry = micro_discover::open(&format!("file:{}", place.display())).unwrap();
        let mut sets = all(Catalog::new(registry));
        let early = timeout(Duration::from_secs(3), sets.next()).await;
        assert!(early.is_err(), "it cannot be read: {early:?}");
        fs::remove_file(&place).unwrap();
        assert_eq!(timeout(Duration::from_secs(3), sets.next()).await, Ok(Some(Vec::new())));
    }
}
