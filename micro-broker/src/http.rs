//! A broker without a server: subscribers are announced in the registry, and events are posted to them.

mod client;
mod directory;
mod outbox;
mod receive;
mod unreached;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use http::HeaderValue;
use micro_discover::{Address, Announce, Endpoint, Registry, Service};
use tokio::sync::OnceCell;

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::event::Event;
use crate::http::directory::{BROADCAST, Directory, SERVICE};
use crate::http::outbox::{FAREWELL, Outboxes};
use crate::http::receive::Receiver;
use crate::id::Id;
use crate::subscribe::Subscribe;
use crate::subscription::{Health, Subscription};
use crate::topic::{self, DEAD_PREFIX};
use crate::url::Settings;

const BACKEND: &str = "http";

/// How long the registry keeps a subscriber that does not renew itself.
const TTL: Duration = Duration::from_secs(60);

/// A broker without a server. Clones share a listener and the outboxes.
///
/// **Promises.** At least once while the publisher lives: `Ok` says that the event is in the publisher's outbox for every
/// group and subscriber known, where it stays until a subscriber answers that it was handled. An outbox holds 10 000
/// events or 64 MiB; when it is full the answer is [`Error::Full`]. A group that had members keeps its outbox while it
/// has none; a broadcast subscriber that leaves the registry takes its outbox with it. A publisher's events arrive in
/// order where the subscriber has one [in flight](Subscribe::in_flight). Nothing is durable. A handler that takes longer
/// than [`ack_wait`](Subscribe::ack_wait) is taken for dead, and the event is posted again. Dead letters wait in the
/// outbox of the process that put them aside. Closing waits up to 5 s for what is in an outbox, unless none of its
/// subscribers took what was posted last, and as long at most until the registry has taken out its own subscribers.
///
/// Records, paths and envelopes are those of go-micro's HTTP broker, so both find and reach each other.
#[derive(Clone, Debug)]
pub struct Http {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Arc<dyn Registry>,
    listen: SocketAddr,
    advertise: Option<Address>,
    envelope: Envelope,
    receiver: OnceCell<Arc<Receiver>>,
    outboxes: OnceLock<Arc<Outboxes>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What was published is still delivered; the process must live for it.
        if let (Some(outboxes), Ok(runtime)) = (self.outboxes.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { outboxes.close(TTL).await });
        }
    }
}

impl Http {
    /// A broker whose subscribers are announced in `registry`. It listens on a port of 127.0.0.1 once it has a
    /// subscriber: say [`Http::listen`] to be reached from other hosts.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        let shared = Shared {
            registry,
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: None,
            envelope: Envelope::default(),
            receiver: OnceCell::new(),
            outboxes: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Listens here for events.
    #[must_use]
    pub fn listen(self, address: SocketAddr) -> Self {
        self.with(|shared| shared.listen = address)
    }

    /// Announces this address instead of the one listened on, e.g. the host's name.
    #[must_use]
    pub fn advertise(self, address: Address) -> Self {
        self.with(|shared| shared.advertise = Some(address))
    }

    /// Announces subscribers that read `envelope`, and so decides what publishers write to them; every form is read.
    /// [`Envelope::GoMicroV0`] announces them as go-micro before v1.0 looks for them.
    #[must_use]
    pub fn envelope(self, envelope: Envelope) -> Self {
        self.with(|shared| shared.envelope = envelope)
    }

    /// A broker of the same settings with one changed; connections and outboxes start anew.
    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let Shared { registry, listen, advertise, envelope, .. } = &*self.shared;
        let mut shared = Shared {
            registry: registry.clone(),
            listen: *listen,
            advertise: advertise.clone(),
            envelope: *envelope,
            receiver: OnceCell::new(),
            outboxes: OnceLock::new(),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    fn outboxes(&self) -> &Arc<Outboxes> {
        self.shared.outboxes.get_or_init(|| Outboxes::new(Directory::new(self.shared.registry.clone())))
    }

    async fn receiver(&self) -> Result<&Arc<Receiver>, Error> {
        let listening = self.shared.receiver.get_or_try_init(|| Receiver::listen(self.shared.listen)).await;
        listening.map_err(|error| unavailable(format!("cannot listen on {}: {error}", self.shared.listen)))
    }

    /// The record of one subscription, as go-micro of the chosen version announces it.
    fn record(&self, subscribe: &Subscribe, id: &str, port: u16) -> Result<Service, Error> {
        let address = match &self.shared.advertise {
            Some(address) => address.clone(),
            None => SocketAddr::new(self.shared.listen.ip(), port)
                .try_into()
                .map_err(|bad| Error::invalid(BACKEND, format!("{bad}")))?,
        };
        let name = match self.shared.envelope {
            Envelope::GoMicroV0 => format!("topic:{}", subscribe.topic),
            _ => SERVICE.to_owned(),
        };
        let mut endpoint = Endpoint::new(id, address)
            .metadata("broker", "http")
            .metadata("secure", "false")
            .metadata("topic", &*subscribe.topic)
            .metadata("in-flight", subscribe.in_flight.to_string())
            .metadata("ack-wait", subscribe.ack_wait.as_millis().to_string());
        if self.shared.envelope == Envelope::Native {
            endpoint = endpoint.metadata("envelope", "native");
        }
        Ok(Service::new(name).version(subscribe.group.as_deref().unwrap_or(BROADCAST)).endpoint(endpoint))
    }
}

/// Opens `http:` or `http://listen:port`; subscribers are announced in `?registry=URL`, `file:` unless told.
pub(crate) fn open(url: &str) -> Result<Arc<dyn Broker>, Error> {
    let mut settings = Settings::parse(BACKEND, url);
    let registry = micro_discover::open(settings.take("registry").unwrap_or("file:"));
    let mut broker =
        Http::new(registry.map_err(|error| Error::invalid(BACKEND, format!("its registry: {error}")))?);
    let listen = settings.base.trim_start_matches("http:").trim_matches('/');
    if !listen.is_empty() {
        broker = broker.listen(
            listen
                .parse()
                .map_err(|_| Error::invalid(BACKEND, format!("address {listen:?}: it is host:port")))?,
        );
    }
    broker = broker.envelope(settings.take_as("envelope")?.unwrap_or_default());
    settings.end()?;
    Ok(Arc::new(broker))
}

impl Broker for Http {
    fn publish(&self, mut event: Event, within: Duration) -> Confirm {
        if let Some(fault) = topic::fault(&event.topic) {
            return Confirm::known(Err(Error::invalid_topic(BACKEND, &event.topic, fault)));
        }
        if let Some(other) = event.id.fitted(|id| id.trim() == id && HeaderValue::from_str(id).is_ok()) {
            // A stranger may have named what became a dead letter, in go-micro's JSON.
            if !event.topic.starts_with(DEAD_PREFIX) {
                let id = event.id.to_string();
                return Confirm::known(Err(Error::invalid(
                    BACKEND,
                    format!("an event: its id {id:?} can be no header"),
                )));
            }
            event.id = other;
        }
        let outboxes = self.outboxes().clone();
        Confirm::awaited(async move { outboxes.publish(event, within).await })
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        async move {
            if let Some(fault) = topic::pattern_fault(&subscribe.topic) {
                return Err(Error::invalid_topic(BACKEND, &subscribe.topic, fault));
            }
            let receiver = self.receiver().await?;
            // Publishers, go-micro's among them, put it into a URI as it is.
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let topic = subscribe.topic.replace(['*', '#', '>'], "any").replace(|c| !plain(c), "_");
            let id = format!("{topic}-{}", Id::random());
            let record = self.record(&subscribe, &id, receiver.port())?;
            let arrivals = receiver.open(&id, subscribe.in_flight);
            let announced = Announce::new(self.shared.registry.clone(), record).ttl(TTL).start().await;
            let announced = receiver.keep(announced.map_err(unavailable)?);
            // Publishers ask the registry again at least this often.
            tokio::time::sleep(directory::FRESH * 2).await;
            let (report, health) = Health::new();
            let stream = arrivals.map(move |incoming| {
                let _announced = (&announced, &report);
                incoming
            });
            Ok(Subscription::new(stream.boxed(), subscribe, Arc::new(self.clone()), health))
        }
        .boxed()
    }

    fn forget<'a>(&'a self, topic: &'a str, group: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.outboxes().forget(topic, group);
        std::future::ready(Ok(())).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        // An outbox is this process's own: what waits there waits for subscribers, not for a broker.
        std::future::ready(Ok(())).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if let Some(outboxes) = self.shared.outboxes.get() {
                outboxes.close(FAREWELL).await;
            }
            if let Some(receiver) = self.shared.receiver.get() {
                receiver.close().await;
            }
        }
        .boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

fn unavailable(source: impl Into<tower::BoxError>) -> Error {
    Error::Unavailable { backend: BACKEND, source: source.into() }
}
