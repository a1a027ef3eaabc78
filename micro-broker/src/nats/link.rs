//! One connection to a NATS server, made when first needed and restored for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event as ClientEvent, ServerAddr, Subscriber};
use futures_util::StreamExt;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::error::Error;

/// How long the server may take to answer what is not a publication.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// How many messages the client keeps for a subscriber before it drops some: more than it reads in a turn of its task, which
/// is 8 MiB, in messages of no length, so that all are dropped elsewhere, where they are counted.
pub(super) const KEPT: usize = 1 << 20;

/// A connection shared by everything one broker does.
#[derive(Debug)]
pub(super) struct Link {
    backend: &'static str,
    servers: Vec<ServerAddr>,
    client: OnceCell<Client>,
    status: watch::Sender<Status>,
    /// Which connection stands, 0 for none: what the status says, for publishers that look at it for every event.
    standing: Arc<AtomicU64>,
}

/// Whether the connection stands; how often it was made tells a restored one from one that was never lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) up: bool,
    pub(super) connections: u64,
    pub(super) trouble: Option<String>,
    pub(super) closed: bool,
    /// How many messages the client has dropped because a subscriber of this connection did not take them soon enough;
    /// it does not say which.
    pub(super) overrun: u64,
}

impl Link {
    pub(super) fn new(backend: &'static str, servers: &str) -> Result<Self, Error> {
        let servers = servers.split(',').map(|server| server.trim().parse()).collect::<Result<Vec<_>, _>>();
        let servers =
            servers.map_err(|fault| Error::Invalid { backend, what: format!("its address: {fault}") })?;
        let (client, status, standing) = (OnceCell::new(), watch::Sender::default(), Arc::default());
        Ok(Self { backend, servers, client, status, standing })
    }

    /// The client, if the connection stands now.
    pub(super) fn connected(&self) -> Option<&Client> {
        self.client.get().filter(|_| self.standing() != 0)
    }

    /// Which connection stands, counted from 1, or 0 for none: another number tells that one was lost.
    pub(super) fn standing(&self) -> u64 {
        self.standing.load(Ordering::Acquire)
    }

    /// The client, once the connection stands.
    pub(super) async fn client(&self, within: Duration) -> Result<&Client, Error> {
        let deadline = Instant::now() + within;
        let client = self.client.get_or_try_init(|| self.connect()).await?;
        let mut status = self.status.subscribe();
        loop {
            if status.borrow_and_update().closed {
                return Err(Error::Closed { backend: self.backend });
            }
            if client.connection_state() == State::Connected {
                return Ok(client);
            }
            // The state can change a moment before the event that tells of it.
            let changed = timeout(Duration::from_millis(100), status.changed());
            if timeout_at(deadline, changed).await.is_err() {
                let trouble = status.borrow().trouble.clone().unwrap_or_else(|| "not connected".to_owned());
                return Err(self.unavailable(format!("{trouble}, for {within:?}")));
            }
        }
    }

    async fn connect(&self) -> Result<Client, Error> {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let (status, standing) = (self.status.clone(), self.standing.clone());
        let options = ConnectOptions::new()
            .retry_on_initial_connect()
            .connection_timeout(ANSWER)
            .subscription_capacity(KEPT)
            .ping_interval(Duration::from_secs(5))
            .reconnect_delay_callback(move |attempt| {
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                if attempt <= 1 { Duration::ZERO } else { backoff.wait(attempt - 1, fastrand::f64()) }
            })
            .event_callback(move |event| {
                status.send_modify(|status| {
                    status.note(&event);
                    let stands = status.up && !status.closed;
                    standing.store(if stands { status.connections } else { 0 }, Ordering::Release);
                });
                std::future::ready(())
            });
        options.connect(self.servers.as_slice()).await.map_err(|error| self.unavailable(error))
    }

    /// Resolves once the server has processed everything sent before: it has sent back a message of our own.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        if self.client.get().is_none() {
            return Ok(());
        }
        let client = self.client(ANSWER).await?;
        let round_trip = async {
            let inbox = client.new_inbox();
            let mut answers =
                client.subscribe(inbox.clone()).await.map_err(|error| self.unavailable(error))?;
            client.publish(inbox, "".into()).await.map_err(|error| self.unavailable(error))?;
            client.flush().await.map_err(|error| self.unavailable(error))?;
            answers.next().await.map(drop).ok_or_else(|| self.unavailable("the connection was lost"))
        };
        timeout(ANSWER, round_trip).await.map_err(|late| self.unavailable(late))?
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) async fn close(&self) {
        if self.connected().is_some() {
            let _ = self.flush().await;
        }
        self.status.send_modify(|status| {
            status.closed = true;
            self.standing.store(0, Ordering::Release);
        });
        if let Some(client) = self.client.get() {
            let _ = timeout(ANSWER, client.drain()).await;
        }
    }

    pub(super) fn unavailable(&self, source: impl Into<tower::BoxError>) -> Error {
        Error::Unavailable { backend: self.backend, source: source.into() }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A client dropped with its last clone forgets what it has not written yet.
        if let (Some(client), Ok(runtime)) = (self.client.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { timeout(ANSWER, client.flush()).await });
        }
    }
}

impl Status {
    fn note(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::Connected => {
                (self.up, self.trouble) = (true, None);
                self.connections += 1;
            }
            ClientEvent::SlowConsumer(_) => self.overrun += 1,
            ClientEvent::Disconnected | ClientEvent::Closed => {
                self.up = false;
                self.trouble.get_or_insert_with(|| event.to_string());
            }
            other => self.trouble = Some(other.to_string()),
        }
    }
}

/// Unsubscribes, and returns what had arrived.
pub(super) async fn leave(mut subscriber: Subscriber) -> Vec<async_nats::Message> {
    let _ = subscriber.unsubscribe().await;
    subscriber.collect().await
}
