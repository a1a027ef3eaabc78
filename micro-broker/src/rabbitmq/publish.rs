//! Publishing with confirms.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use crate::deadline;
use crate::error::Error;
use crate::event::Event;
use crate::rabbitmq::link::Link;
use crate::rabbitmq::topology::{self, Topology};
use crate::rabbitmq::{BACKEND, wire};

/// How many KiB may be on their way. A server short of memory or disk stops reading, for hours perhaps, while its
/// publishers try again and again.
const ROOM: u32 = 64 << 10;

/// The channel all publications of a broker go through, in order.
#[derive(Debug)]
pub(super) struct Outlet {
    link: Link,
    open: ArcSwapOption<Open>,
    /// Held by whoever makes it anew.
    opening: Mutex<()>,
    room: Arc<Semaphore>,
}

/// A channel, and the few exchanges it has declared.
#[derive(Debug)]
struct Open {
    channel: Arc<Channel>,
    declared: Vec<&'static str>,
}

impl Outlet {
    pub(super) fn new(link: Link) -> Self {
        let room = Arc::new(Semaphore::new(ROOM as usize));
        Self { link, open: ArcSwapOption::empty(), opening: Mutex::default(), room }
    }

    // Not an `async fn`, and what is seldom awaited is boxed: a future keeps a second place for each argument of the one, and
    // room for all of the other, and small futures cost an allocator less.
    pub(super) fn publish(
        self: Arc<Self>,
        event: Event,
        topology: Topology,
        within: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let deadline = deadline::after(within);
        async move {
            let (exchange, key) = topology::route(&event.topic, topology);
            let channel = match self.current(exchange) {
                Some(channel) => channel,
                None => Box::pin(self.channel_until(exchange, deadline)).await?,
            };
            let size = size(&event);
            let room = match self.room.clone().try_acquire_many_owned(size) {
                Ok(room) => room,
                Err(_) => Box::pin(self.room_until(size, deadline)).await?,
            };
            let (topic, key) = (event.topic.clone(), key.into());
            let sent = Sent::new(async move {
                let _until_then = room;
                let options = BasicPublishOptions::default();
                let properties = wire::properties(&event, topology.envelope);
                channel.basic_publish(exchange.into(), key, options, &event.body, properties).await?.await
            });
            let unconfirmed = |source: BoxError| Err(Error::Unconfirmed { backend: BACKEND, source });
            match timeout_at(deadline, sent).await {
                Ok(Ok(Confirmation::Ack(_))) => Ok(()),
                Ok(Ok(_)) => {
                    Err(Error::Full { backend: BACKEND, queue: format!("a queue of topic {topic:?}") })
                }
                Ok(Err(error)) => unconfirmed(error.into()),
                Err(late) => unconfirmed(late.into()),
            }
        }
    }

    async fn room_until(&self, size: u32, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        match timeout_at(deadline, self.room.clone().acquire_many_owned(size)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(self.link.unavailable("the server does not take what is on its way already")),
        }
    }

    async fn channel_until(&self, exchange: &'static str, deadline: Instant) -> Result<Arc<Channel>, Error> {
        let channel = timeout_at(deadline, self.channel(exchange, deadline)).await;
        channel.unwrap_or_else(|late| Err(self.link.unavailable(format!("no connection: {late}"))))
    }

    /// The channel, if it stands and has the exchange.
    fn current(&self, exchange: &'static str) -> Option<Arc<Channel>> {
        let open = self.open.load();
        open.as_ref().filter(|open| open.serves(exchange)).map(|open| open.channel.clone())
    }

    /// The channel, made anew when it was lost, with an exchange that exists.
    async fn channel(&self, exchange: &'static str, deadline: Instant) -> Result<Arc<Channel>, Error> {
        let _opening = self.opening.lock().await;
        if let Some(channel) = self.current(exchange) {
            return Ok(channel);
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let connection = self.link.connection(left).await?;
            let current = self.open.load_full().filter(|open| open.channel.status().connected());
            match Open::with(current.as_deref(), &connection, exchange).await {
                Ok(open) => {
                    let channel = open.channel.clone();
                    self.open.store(Some(Arc::new(open)));
                    return Ok(channel);
                }
                // The server understood and refused, e.g. because the exchange is of another type.
                Err(error) if error.is_amqp_soft_error() => {
                    return Err(Error::invalid(super::BACKEND, format!("exchange {exchange:?}: {error}")));
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

/// How many KiB an event counts for.
fn size(event: &Event) -> u32 {
    u32::try_from(event.body.len() >> 10).unwrap_or(ROOM).saturating_add(1).min(ROOM)
}

/// A publication on its way. When nobody waits for it any more it goes on alone: the client keeps it until the server
/// takes it or the connection is lost, and so long it counts.
struct Sent(Option<BoxFuture<'static, lapin::Result<Confirmation>>>);

impl Sent {
    fn new(sent: impl Future<Output = lapin::Result<Confirmation>> + Send + 'static) -> Self {
        Self(Some(Box::pin(sent)))
    }
}

impl Future for Sent {
    type Output = lapin::Result<Confirmation>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(sent) = &mut self.0 else { return Poll::Pending };
        let answer = sent.as_mut().poll(cx);
        if answer.is_ready() {
            self.0 = None;
        }
        answer
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let (Some(sent), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(sent);
        }
    }
}

impl Open {
    fn serves(&self, exchange: &str) -> bool {
        self.channel.status().connected() && self.declared.contains(&exchange)
    }

    async fn with(
        open: Option<&Self>,
        connection: &lapin::Connection,
        exchange: &'static str,
    ) -> lapin::Result<Self> {
        let (channel, mut declared) = match open {
            Some(open) => (open.channel.clone(), open.declared.clone()),
            None => {
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                (Arc::new(channel), Vec::new())
            }
        };
        topology::declare_exchange(&channel, exchange).await?;
        declared.push(exchange);
        Ok(Self { channel, declared })
    }
}
