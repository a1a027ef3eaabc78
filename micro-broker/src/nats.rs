//! Brokers on a NATS server: [`Nats`] is fast and forgets, [`JetStream`] keeps.

mod core;
mod hand;
mod jetstream;
mod link;
mod publish;
mod pull;
mod pump;
mod salvage;
mod streams;
mod target;
mod wire;

pub use self::core::Nats;
pub use self::jetstream::JetStream;

use std::sync::Arc;

use crate::broker::Broker;
use crate::error::Error;
use crate::url::Settings;

/// Opens `nats://host:port,host:port`: [`JetStream`], or [`Nats`] with `?core`.
pub(crate) fn open(url: &str) -> Result<Arc<dyn Broker>, Error> {
    let mut settings = Settings::parse("nats", url);
    let envelope = settings.take_as("envelope")?.unwrap_or_default();
    if settings.take("core").is_some() {
        let broker = Nats::new(settings.base)?.envelope(envelope);
        settings.end()?;
        Ok(Arc::new(broker))
    } else {
        let mut broker = JetStream::new(settings.base)?.envelope(envelope);
        if let Some(stream) = settings.take("stream") {
            broker = broker.stream(stream);
        }
        settings.end()?;
        Ok(Arc::new(broker))
    }
}
