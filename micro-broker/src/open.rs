//! From a URL to a broker.

use std::sync::Arc;

use crate::broker::Broker;
use crate::error::Error;
use crate::memory::Memory;

/// Opens the broker a URL names. Nothing is connected yet: the first publication or subscription does that.
///
/// | URL | broker | feature |
/// | --- | --- | --- |
/// | `memory:` | a [`Memory`] of its own | |
/// | `http:`, `http://listen:port` | `Http`; `?registry=URL`, `file:` unless told | `http` |
/// | `nats://host:4222,…` | `JetStream`; with `?core` `Nats`; `?stream=name` | `nats` |
/// | `amqp://user:password@host:5672/vhost` | `RabbitMq`; `?quorum` | `rabbitmq` |
///
/// All but memory take `?envelope=native`, `go-micro` or `go-micro-v0`.
///
/// # Errors
///
/// [`Error::Invalid`] when the URL names no backend, or one whose feature is not built in.
pub fn open(url: &str) -> Result<Arc<dyn Broker>, Error> {
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "memory" => Ok(Arc::new(Memory::new())),
        #[cfg(feature = "http")]
        "http" => crate::http::open(url),
        #[cfg(feature = "nats")]
        "nats" | "tls" => crate::nats::open(url),
        #[cfg(feature = "rabbitmq")]
        "amqp" | "amqps" => crate::rabbitmq::open(url),
        _ => Err(Error::Invalid { backend: "unknown", what: format!("URL scheme {scheme:?}") }),
    }
}
