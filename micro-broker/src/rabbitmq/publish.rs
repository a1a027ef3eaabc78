//! Publishing with confirms.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use crate::error::Error;
use crate::event::Event;
use crate::rabbitmq::link::Link;
use crate::rabbitmq::topology::{self, Topology};
use crate::rabbitmq::{BACKEND, wire};

/// The channel all publications of a broker go through, in order.
#[derive(Debug)]
pub(super) struct Outlet {
    link: Link,
    open: Mutex<Option<Open>>,
}

/// A channel, and the exchanges it has declared.
#[derive(Debug)]
struct Open {
    channel: Arc<Channel>,
    declared: HashSet<&'static str>,
}

impl Outlet {
    pub(super) fn new(link: Link) -> Self {
        Self { link, open: Mutex::default() }
    }

    pub(super) async fn publish(
        &self,
        event: Event,
        topology: Topology,
        within: Duration,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        let (exchange, key) = topology::route(&event.topic, topology);
        let properties = wire::properties(&event, topology.envelope);
        let channel = match timeout_at(deadline, self.channel(exchange, deadline)).await {
            Ok(channel) => channel?,
            Err(late) => return Err(self.link.unavailable(format!("no connection: {late}"))),
        };
        let sent = async {
            let options = BasicPublishOptions::default();
            channel.basic_publish(exchange.into(), key.into(), options, &event.body, properties).await?.await
        };
        let unconfirmed = |source: BoxError| Err(Error::Unconfirmed { backend: BACKEND, source });
        match timeout_at(deadline, sent).await {
            Ok(Ok(Confirmation::Ack(_))) => Ok(()),
            Ok(Ok(_)) => {
                Err(Error::Full { backend: BACKEND, queue: format!("a queue of topic {:?}", event.topic) })
            }
            Ok(Err(error)) => unconfirmed(error.into()),
            Err(late) => unconfirmed(late.into()),
        }
    }

    /// The channel, made anew when it was lost, with an exchange that exists.
    async fn channel(&self, exchange: &'static str, deadline: Instant) -> Result<Arc<Channel>, Error> {
        let mut open = self.open.lock().await;
        if let Some(Open { channel, declared }) = &*open
            && channel.status().connected()
            && declared.contains(exchange)
        {
            return Ok(channel.clone());
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let connection = self.link.connection(left).await?;
            let current = open.take().filter(|open| open.channel.status().connected());
            match Open::with(current, &connection, exchange).await {
                Ok(current) => return Ok(open.insert(current).channel.clone()),
                // The server understood and refused, e.g. because the exchange is of another type.
                Err(error) if error.is_amqp_soft_error() => {
                    return Err(super::invalid(&format!("exchange {exchange:?}: {error}")));
                }
                // The connection went down meanwhile: once more, until the deadline ends it.
                Err(error) if Instant::now() >= deadline => return Err(self.link.unavailable(error)),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(super) async fn close(&self) {
        self.link.close().await;
    }
}

impl Open {
    async fn with(
        open: Option<Self>,
        connection: &lapin::Connection,
        exchange: &'static str,
    ) -> lapin::Result<Self> {
        let mut open = match open {
            Some(open) => open,
            None => {
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                Self { channel: Arc::new(channel), declared: HashSet::new() }
            }
        };
        topology::declare_exchange(&open.channel, exchange).await?;
        open.declared.insert(exchange);
        Ok(open)
    }
}
