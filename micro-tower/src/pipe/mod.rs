//! Streams of bytes over what is no socket: a broker's messages, or this process's memory.
//!
//! HTTP/2 runs on them as it does on TCP, so trailers, cancellation, flow control, keep-alive and a server's good-bye
//! are the same on all of them. A [`Pipe`] adds what TCP has and messages have not: chunks, a window, an end, and
//! word of a peer that is gone.

#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "what is said aside is said on pipes over brokers, which come by feature")
)]
pub(crate) mod aside;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod broker;
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "what is said aside is said on pipes over brokers, which come by feature")
)]
pub(crate) mod call;
pub(crate) mod memory;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod packet;
#[cfg(all(any(test, fuzzing), any(feature = "nats", feature = "rabbitmq")))]
pub(crate) mod probe;
mod progress;
#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod stream;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod table;
#[cfg(all(test, any(feature = "nats", feature = "rabbitmq")))]
mod tests;
pub(crate) mod url;

pub(crate) use self::progress::Progress;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
pub(crate) use self::{broker::Incoming, stream::Pipe};

/// Where an endpoint's metadata says which broker knows its name, as `nats://127.0.0.1:4222`.
pub(crate) const BROKER: &str = "broker";
