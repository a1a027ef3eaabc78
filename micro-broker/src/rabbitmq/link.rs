//! One connection to RabbitMQ, made when needed and made again when lost.

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tower::BoxError;

use crate::backoff::Backoff;
use crate::deadline;
use crate::error::Error;
use crate::rabbitmq::connect::connect;
use crate::rabbitmq::{ANSWER, BACKEND};

/// Seconds between heartbeats: a connection that is silent for twice as long is given up.
const HEARTBEAT: u16 = 10;

/// A connection that whoever needs it restores; the others wait for it.
#[derive(Debug)]
pub(super) struct Link {
    uri: AMQPUri,
    name: &'static str,
    slot: Mutex<Option<Arc<Connection>>>,
    closed: watch::Sender<bool>,
}

impl Link {
    pub(super) fn new(url: &str, name: &'static str) -> Result<Self, Error> {
        let mut uri: AMQPUri =
            url.parse().map_err(|fault| Error::invalid(super::BACKEND, format!("its address: {fault}")))?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(Self { uri, name, slot: Mutex::default(), closed: watch::Sender::new(false) })
    }

    /// The connection, once it stands.
    pub(super) async fn connection(&self, within: Duration) -> Result<Arc<Connection>, Error> {
        let deadline = deadline::after(within);
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut trouble: BoxError = "another task is still connecting".into();
        for attempt in 1.. {
            let Ok(mut slot) = timeout_at(deadline, self.slot.lock()).await else { break };
            if *self.closed.borrow() {
                return Err(Error::Closed { backend: BACKEND });
            }
            if let Some(connection) = slot.as_ref().filter(|connection| connection.status().connected()) {
                return Ok(connection.clone());
            }
            *slot = None;
            let properties = ConnectionProperties::default().with_connection_name(self.name.into());
            let one = Instant::now() + ANSWER;
            match timeout_at(deadline.min(one), connect(self.uri.clone(), properties)).await {
                Ok(Ok(connection)) => return Ok(slot.insert(Arc::new(connection)).clone()),
                Ok(Err(error)) => trouble = error.into(),
                Err(late) => trouble = format!("the server does not answer: {late}").into(),
            }
            drop(slot);
            let pause = Instant::now() + backoff.wait(attempt, fastrand::f64());
            if pause >= deadline {
                break;
            }
            tokio::time::sleep_until(pause).await;
        }
        Err(self.unavailable(trouble))
    }

    /// Resolves once the server has read everything sent before: it has answered what was sent after.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let Some(connection) = self.slot.lock().await.clone() else { return Ok(()) };
        let answered = timeout(ANSWER, connection.create_channel()).await;
        answered.map_err(|late| self.unavailable(late))?.map(drop).map_err(|error| self.unavailable(error))
    }

    pub(super) async fn close(&self) {
        self.closed.send_replace(true);
        if let Some(connection) = self.slot.lock().await.take() {
            let _ = timeout(ANSWER, connection.close(200, "closed".into())).await;
        }
    }

    /// Resolves when the link is closed.
    pub(super) async fn closed(&self) {
        // The sender lives as long as `self`, so this ends only with `true`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    pub(super) fn unavailable(&self, source: impl Into<BoxError>) -> Error {
        Error::Unavailable { backend: BACKEND, source: source.into() }
    }
}
