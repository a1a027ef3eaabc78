//! One connection to NATS, made when first needed; from then on the client restores it by itself, until it ends.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::BoxError;

use super::BACKEND;
use super::refusals::Refusals;
use super::servers::Servers;
use crate::registry::Error;

pub(super) struct Link {
    servers: Servers,
    client: Arc<Mutex<Option<Client>>>,
    /// Held by whoever makes the client.
    making: tokio::sync::Mutex<()>,
    state: watch::Sender<Standing>,
}

/// Is told by being dropped that a client has ended for good, as it does when it panics over a line break in a header: the
/// next one who needs a client makes a new one.
struct End {
    client: Weak<Mutex<Option<Client>>>,
    state: watch::Sender<Standing>,
}

/// Whether the connection stands, how often it was made, and what was last wrong with it.
#[derive(Clone, Debug, Default)]
struct Standing {
    connections: u64,
    up: bool,
    trouble: Option<String>,
    refusals: Refusals,
}

/// How long a server may take to accept a connection, or to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// A server that is silent for twice as long is given up.
const PING: Duration = Duration::from_secs(3);
const NO_PANIC: &str = "nothing under this lock can panic";

/// Why NATS did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the server cannot be reached: {0}")]
    Connection(String),
    #[error("the connection is lost: {0}")]
    Lost(String),
    #[error("the server did not answer within {ANSWER:?}")]
    Late,
    #[error("the server refused")]
    Refused(#[source] BoxError),
}

impl Trouble {
    pub(super) fn refused(source: impl Into<BoxError>) -> Self {
        Self::Refused(source.into())
    }

    pub(super) fn cannot(self, what: &str, link: &Link) -> Error {
        Error::Unavailable { backend: BACKEND, what: format!("{what} at {link}"), source: self.into() }
    }
}

impl Link {
    pub(super) fn new(servers: Servers) -> Self {
        Self {
            servers,
            client: Arc::default(),
            making: tokio::sync::Mutex::default(),
            state: watch::Sender::default(),
        }
    }

    /// The client, if its connection stands, or does so soon.
    pub(super) async fn client(&self) -> Result<Client, Trouble> {
        let client = timeout(2 * ANSWER, self.made()).await.map_err(|_| Trouble::Late)??;
        let mut state = self.state.subscribe();
        let standing = async {
            // The client's state changes a moment before the event that tells of it.
            while client.connection_state() != State::Connected || !state.borrow_and_update().up {
                timeout(Duration::from_millis(50), state.changed()).await.ok();
            }
        };
        match timeout(ANSWER, standing).await {
            Ok(()) => Ok(client),
            Err(_) => Err(self.lost()),
        }
    }

    /// The client there is, or a new one, whose connection stands.
    async fn made(&self) -> Result<Client, Trouble> {
        let _making = self.making.lock().await;
        let known = self.client.lock().expect(NO_PANIC).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let connecting = self.options().connect(self.servers.addresses());
        let client = connecting.await.map_err(|error| Trouble::Connection(error.to_string()))?;
        Ok(self.client.lock().expect(NO_PANIC).insert(client).clone())
    }

    fn options(&self) -> ConnectOptions {
        let state = self.state.clone();
        let end = End { client: Arc::downgrade(&self.client), state: state.clone() };
        let options = ConnectOptions::new()
            .name("micro-discover")
            .connection_timeout(ANSWER)
            .request_timeout(Some(ANSWER))
            .ping_interval(PING)
            .reconnect_delay_callback(|attempt| match attempt {
                0 | 1 => Duration::from_millis(500).mul_f64(fastrand::f64()),
                _ => Duration::from_millis(900).mul_f64(0.5 + 0.5 * fastrand::f64()),
            })
            .event_callback(move |event| {
                let _told = &end;
                state.send_modify(|state| state.note(&event));
                std::future::ready(())
            });
        self.servers.admit(options)
    }

    /// Resolves when a connection that stood is lost, be it restored since.
    pub(super) fn loss(&self) -> impl Future<Output = Trouble> + Send + use<> {
        let mut state = self.state.subscribe();
        let made = state.borrow().connections;
        async move {
            let lost = state.wait_for(|state| !state.up || state.connections != made).await;
            Trouble::Lost(
                lost.ok().and_then(|state| state.trouble.clone()).unwrap_or_else(|| "closed".to_owned()),
            )
        }
    }

    /// How many refusals were heard of.
    pub(super) fn refusals(&self) -> u64 {
        self.state.borrow().refusals.count()
    }

    /// Fails if publishing to each of these was refused after so many refusals.
    pub(super) fn check_said(&self, subjects: &[String], after: u64) -> Result<(), Trouble> {
        let why = self.state.borrow().refusals.of_all(subjects, after);
        why.map_or(Ok(()), |why| Err(Trouble::refused(why)))
    }

    fn lost(&self) -> Trouble {
        Trouble::Lost(self.state.borrow().trouble.clone().unwrap_or_else(|| "not restored yet".to_owned()))
    }
}

/// Resolves once the server has processed all that was sent before: it has sent back a message of our own.
pub(super) async fn round_trip(client: &Client) -> Result<(), Trouble> {
    let trip = async {
        let inbox = client.new_inbox();
        let mut echo = client.subscribe(inbox.clone()).await.map_err(Trouble::refused)?;
        client.publish(inbox, "".into()).await.map_err(Trouble::refused)?;
        echo.next().await.map(drop).ok_or_else(|| Trouble::Lost("closed".to_owned()))
    };
    timeout(ANSWER, trip).await.unwrap_or(Err(Trouble::Late))
}

impl Drop for End {
    fn drop(&mut self) {
        let Some(client) = self.client.upgrade() else { return };
        if client.lock().expect(NO_PANIC).take().is_some() {
            self.state.send_modify(|state| {
                (state.up, state.trouble) = (false, Some("the client ended".to_owned()));
            });
        }
    }
}

impl Standing {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Connected => {
                self.connections += 1;
                (self.up, self.trouble) = (true, None);
            }
            Event::Disconnected | Event::Closed => {
                self.up = false;
                self.trouble.get_or_insert_with(|| event.to_string());
            }
            Event::ServerError(error) => {
                self.trouble = Some(event.to_string());
                self.refusals.note(&error.to_string());
            }
            Event::ClientError(_) => self.trouble = Some(event.to_string()),
            _ => {}
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.fmt(f)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.fmt(f)
    }
}
