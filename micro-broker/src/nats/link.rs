//! One connection to a NATS server, made when first needed and restored for ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectOptions, Event as ClientEvent, ServerAddr, Subscriber};
use futures_util::StreamExt;
use tokio::sync::{Mutex, watch};
use tokio::time::{timeout, timeout_at};

use crate::backoff::Backoff;
use crate::deadline;
use crate::error::Error;

/// How long the server may take to answer what is not a publication.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// How long to wait before asking again what did not go.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How many messages the client keeps for a subscriber before it drops some: more than it reads in a turn of its task, which
/// is 8 MiB, in messages of no length, so that all are dropped elsewhere, where they are counted.
pub(super) const KEPT: usize = 1 << 20;

/// A connection shared by everything one broker does.
#[derive(Debug)]
pub(super) struct Link {
    backend: &'static str,
    servers: Vec<ServerAddr>,
    /// The client, which restores its connection for ever; none before it is needed, and once it has ended all the same.
    client: Arc<ArcSwapOption<Client>>,
    /// Held by whoever makes it.
    making: Mutex<()>,
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
        let (client, making) = (Arc::default(), Mutex::default());
        let (status, standing) = (watch::Sender::default(), Arc::default());
        Ok(Self { backend, servers, client, making, status, standing })
    }

    /// The name of the broker that it is for.
    pub(super) fn backend(&self) -> &'static str {
        self.backend
    }

    /// The client, if the connection stands now.
    pub(super) fn connected(&self) -> Option<Arc<Client>> {
        if self.standing() == 0 { None } else { self.client.load_full() }
    }

    /// Uses the client without a share in it, if the connection stands now.
    pub(super) fn while_connected<T>(&self, brief: impl FnOnce(&Client) -> T) -> Option<T> {
        if self.standing() == 0 { None } else { self.client.load().as_deref().map(brief) }
    }

    /// Which connection stands, counted from 1, or 0 for none: another number tells that one was lost.
    pub(super) fn standing(&self) -> u64 {
        self.standing.load(Ordering::Acquire)
    }

    /// The client, once the connection stands.
    pub(super) async fn client(&self, within: Duration) -> Result<Arc<Client>, Error> {
        let deadline = deadline::after(within);
        let mut status = self.status.subscribe();
        loop {
            let Status { up, closed, .. } = *status.borrow_and_update();
            if closed {
                return Err(Error::Closed { backend: self.backend });
            }
            let client = self.make().await?;
            // The state can change a moment before the event that tells of it.
            if up && client.connection_state() == State::Connected {
                return Ok(client);
            }
            let changed = timeout(Duration::from_millis(100), status.changed());
            if timeout_at(deadline, changed).await.is_err() {
                let trouble = status.borrow().trouble.clone().unwrap_or_else(|| "not connected".to_owned());
                return Err(self.unavailable(format!("{trouble}, for {within:?}")));
            }
        }
    }

    /// The client there is, or a new one.
    async fn make(&self) -> Result<Arc<Client>, Error> {
        let _making = self.making.lock().await;
        if let Some(client) = self.client.load_full() {
            return Ok(client);
        }
        let client = Arc::new(self.connect().await?);
        self.client.store(Some(client.clone()));
        Ok(client)
    }

    async fn connect(&self) -> Result<Client, Error> {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let (status, standing) = (self.status.clone(), self.standing.clone());
        let end =
            End { client: Arc::downgrade(&self.client), status: status.clone(), standing: standing.clone() };
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
                let _told = &end;
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
        if self.client.load().is_none() {
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
        if let Some(client) = self.client.load_full() {
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
        if let (Some(client), Ok(runtime)) = (self.client.swap(None), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { timeout(ANSWER, client.flush()).await });
        }
    }
}

/// Is told by being dropped that a client has ended for good, as it does when it panics over a line break in a header: the
/// next one who needs a client makes a new one.
#[derive(Debug)]
struct End {
    client: Weak<ArcSwapOption<Client>>,
    status: watch::Sender<Status>,
    standing: Arc<AtomicU64>,
}

impl Drop for End {
    fn drop(&mut self) {
        let Some(client) = self.client.upgrade() else { return };
        self.status.send_modify(|status| {
            if !status.closed {
                self.standing.store(0, Ordering::Release);
                client.store(None);
                (status.up, status.trouble) = (false, Some("the client ended".to_owned()));
            }
        });
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

/// For requests about streams and consumers.
pub(super) fn context(client: &Client) -> Context {
    ContextBuilder::new().timeout(ANSWER).build(client.clone())
}

/// Unsubscribes, and returns what had arrived.
pub(super) async fn leave(mut subscriber: Subscriber) -> Vec<async_nats::Message> {
    let _ = subscriber.unsubscribe().await;
    subscriber.collect().await
}
