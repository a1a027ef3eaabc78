//! `/broker` as a WebSocket: what comes is published, what others publish is sent.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use micro_broker::{Event, Id, Subscription};
use tokio::time::{Instant, Interval, interval, timeout};

use super::events::{CONFIRM_WITHIN, event, written};
use super::state::Inner;

/// A message is 1 MiB at most.
pub(super) const MOST_BYTES: usize = 1 << 20;
/// How often a client is asked whether it is there, and after how much silence it is not.
pub(super) const PING_EVERY: Duration = Duration::from_secs(30);
pub(super) const SILENCE: Duration = Duration::from_secs(75);
/// How long a message may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// How many of its own events a socket remembers, so as not to hear them.
const OWN: usize = 1024;

/// A socket of one topic.
pub(super) struct Talk {
    pub(super) topic: String,
    /// Shared with others by a queue: then events go to one of all, the one who published included.
    pub(super) shared: bool,
    pub(super) headers: HeaderMap,
    pub(super) subscription: Subscription,
}

impl Talk {
    pub(super) async fn run(mut self, mut socket: WebSocket, inner: &Inner) {
        let mut own = VecDeque::<Id>::new();
        let mut pulse = Pulse::new();
        let (code, reason) = loop {
            tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        pulse.heard();
                        if let Err(reason) = publish(&mut own, inner, self.event(text.into())).await {
                            break (close_code::ERROR, reason);
                        }
                    }
                    Some(Ok(Message::Binary(body))) => {
                        pulse.heard();
                        if let Err(reason) = publish(&mut own, inner, self.event(body)).await {
                            break (close_code::ERROR, reason);
                        }
                    }
                    Some(Ok(Message::Ping(_))) => {
                        pulse.heard();
                        if taken(&mut socket).await.is_none() {
                            return;
                        }
                    }
                    Some(Ok(Message::Pong(_))) => pulse.heard(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                },
                delivery = self.subscription.next() => {
                    let Some(delivery) = delivery else { break (close_code::AWAY, String::new()) };
                    let event = delivery.event();
                    let mine = !self.shared && own.contains(&event.id);
                    if !mine && write(&mut socket, Message::text(written(event))).await.is_none() {
                        // It was not handled, and comes again to whoever else there is.
                        return;
                    }
                    // What the broker does not hear comes again.
                    let _ = delivery.ack().await;
                }
                () = pulse.due() => {
                    if pulse.ask(&mut socket).await.is_none() {
                        return;
                    }
                }
                () = inner.stop.cancelled() => break (close_code::AWAY, "the sidecar stops".to_owned()),
            }
        };
        let frame = CloseFrame { code, reason: short(reason).into() };
        let _ = write(&mut socket, Message::Close(Some(frame))).await;
    }

    /// What a message is published as: an event of its own, whatever the request said of an id.
    fn event(&self, body: Bytes) -> Event {
        let mut event = event(&self.topic, &self.headers, body).id(Id::random());
        event.headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain"));
        event
    }
}

async fn publish(own: &mut VecDeque<Id>, inner: &Inner, event: Event) -> Result<(), String> {
    if own.len() == OWN {
        own.pop_front();
    }
    own.push_back(event.id.clone());
    inner.broker.publish(event, CONFIRM_WITHIN).await.map_err(|error| crate::causes::chain(&error))
}

/// Whether the client of a socket is still there.
pub(super) struct Pulse {
    pings: Interval,
    heard: Instant,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { pings: interval(PING_EVERY), heard: Instant::now() }
    }

    /// It has said something.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Ends when it is to be asked again.
    pub(super) async fn due(&mut self) {
        self.pings.tick().await;
    }

    /// Asks it; none where it has been silent for too long, or takes no question.
    pub(super) async fn ask(&self, socket: &mut WebSocket) -> Option<()> {
        (self.heard.elapsed() <= SILENCE).then_some(())?;
        write(socket, Message::Ping(Bytes::new())).await
    }
}

/// Writes a message; none where the client is gone, or takes nothing.
pub(super) async fn write(to: &mut (impl Sink<Message> + Unpin), message: Message) -> Option<()> {
    timeout(WRITE_WITHIN, to.send(message)).await.ok()?.ok()
}

/// Waits until the client has taken what was said; none where it does not. Each of its pings has an answer, and whoever
/// sends them without reading would have all of these kept.
pub(super) async fn taken(by: &mut (impl Sink<Message> + Unpin)) -> Option<()> {
    timeout(WRITE_WITHIN, by.flush()).await.ok()?.ok()
}

/// As much as a close frame has room for.
pub(super) fn short(mut reason: String) -> String {
    while reason.len() > 123 {
        reason.pop();
    }
    reason
}
