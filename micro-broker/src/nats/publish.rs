//! Publishing to JetStream: sent again until the server has stored it, for as long as that does no harm.

use std::pin::pin;
use std::time::Duration;

use async_nats::{Client, Message, RequestErrorKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::deadline;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::event::Event;
use crate::nats::jetstream::{BACKEND, JetStream};
use crate::nats::link::{ANSWER, context};
use crate::nats::wire::{self, Topic};

/// For how long a server recognises an event it has stored, unless its stream says otherwise.
const RECOGNISED: Duration = Duration::from_secs(120);
/// How often a publication without an answer looks whether its connection was lost: the answer went with it.
const LOOK: Duration = Duration::from_secs(1);
/// The wait before an event is sent again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

impl JetStream {
    /// Publishes an event, and again when the server could not take it now or was not heard: it recognises what it has
    /// stored already. The last thing heard is the error.
    pub(super) async fn send(&self, event: Event, within: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        let (deadline, mut failures, mut unheard) = (deadline::after(within), 0, false);
        loop {
            let Err(error) = self.attempt(&event, deadline).await else { return Ok(()) };
            failures += 1;
            unheard |= !error.is_unpublished();
            let again = match error {
                Error::Unconfirmed { .. } => self.is_recognised() && begun.elapsed() < RECOGNISED,
                _ => error.is_retryable(),
            };
            let pause = BACKOFF.wait(failures, fastrand::f64());
            if !again || Instant::now() + pause >= deadline {
                // An earlier attempt may have been stored, whatever became of this one.
                return Err(if unheard && error.is_unpublished() { unconfirmed(error) } else { error });
            }
            tracing::debug!(topic = %event.topic, id = %event.id, failures, %error, "publishing again");
            sleep(pause).await;
        }
    }

    /// Whether events carry the id by which the server recognises them.
    fn is_recognised(&self) -> bool {
        self.envelope == Envelope::Native
    }

    async fn attempt(&self, event: &Event, deadline: Instant) -> Result<(), Error> {
        let client = match self.link.connected() {
            Some(client) => client,
            // Boxed, like what follows, as it is seldom needed and large.
            None => {
                let left = deadline.saturating_duration_since(Instant::now());
                Box::pin(self.link.client(left)).await?
            }
        };
        if !self.streams.is_known(&event.topic) {
            let context = context(&client);
            let found = timeout_at(deadline, self.streams.find(&context, &event.topic));
            Box::pin(found).await.map_err(|late| self.link.unavailable(late))??;
        }
        judge(&self.ask(&client, event, deadline).await?)
    }

    /// The server's answer, waited for until the deadline; not as long when the event can be sent again.
    async fn ask(&self, client: &Client, event: &Event, deadline: Instant) -> Result<Message, Error> {
        let connection = self.link.standing();
        let patience = if self.is_recognised() { deadline.min(Instant::now() + ANSWER) } else { deadline };
        let (headers, payload) = wire::write(event, self.envelope, client.max_payload())
            .map_err(|what| Error::Invalid { backend: BACKEND, what })?;
        let mut request = async_nats::Request::new().payload(payload).timeout(None);
        request.headers = headers;
        let mut answer = pin!(client.send_request(Topic(&event.topic), request));
        loop {
            let look = patience.min(Instant::now() + LOOK);
            match timeout_at(look, &mut answer).await {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(error)) => {
                    return Err(match error.kind() {
                        // The stream was deleted, or the server is still starting JetStream.
                        RequestErrorKind::NoResponders => {
                            self.streams.forget(&event.topic);
                            self.link.unavailable(error)
                        }
                        RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                            refused(error)
                        }
                        _ => unconfirmed(error),
                    });
                }
                Err(late) if look >= patience => return Err(unconfirmed(late)),
                Err(_) if self.link.standing() != connection => {
                    return Err(unconfirmed("the connection was lost before the answer"));
                }
                Err(_) => {}
            }
        }
    }
}

/// What a stream answers to what it is given.
#[derive(Deserialize)]
struct Answer {
    error: Option<async_nats::jetstream::Error>,
    stream: Option<IgnoredAny>,
    seq: Option<u64>,
}

/// Whether an answer says that the event is stored.
fn judge(message: &Message) -> Result<(), Error> {
    match serde_json::from_slice(&message.payload) {
        Ok(Answer { error: None, stream: Some(_), seq: Some(_) }) => Ok(()),
        // Too many requests, an id that is being stored, or a fault of the server's own: it may pass.
        Ok(Answer { error: Some(error), .. }) if matches!(error.code(), 408 | 409 | 429 | 500..) => {
            Err(Error::Unavailable { backend: BACKEND, source: error.into() })
        }
        Ok(Answer { error: Some(error), .. }) => Err(refused(error)),
        Ok(_) => Err(unconfirmed("the answer is none of a stream's")),
        Err(error) => Err(unconfirmed(error)),
    }
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::Invalid { backend: BACKEND, what: format!("an event: {why}") }
}

fn unconfirmed(source: impl Into<tower::BoxError>) -> Error {
    Error::Unconfirmed { backend: BACKEND, source: source.into() }
}
