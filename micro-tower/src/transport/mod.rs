//! Carries a request to one endpoint: over HTTP/2, HTTP/1, TLS and unix sockets, in memory, over NATS and RabbitMQ.
//!
//! Which of them is told by the scheme of the endpoint's address, so one client balances over all of them.

mod begun;
mod body;
mod brokers;
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "calls go beside the bytes of pipes over brokers, which come by feature")
)]
mod calls;
mod channel;
mod connect;
mod connection;
mod crowd;
#[cfg(feature = "tls")]
mod followed;
mod foreign;
mod gomicro;
mod http1;
mod http2;
mod io;
mod keepalive;
#[cfg(feature = "tls")]
pub(crate) mod pem;
mod rate;
mod rated;
mod request;
mod room;
mod share;
#[cfg(feature = "tls")]
pub(crate) mod shown;
#[cfg(feature = "tls")]
mod spiffe;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod upload;

#[cfg(any(test, fuzzing))]
pub(crate) use self::http1::probe as http1_answer;
pub use self::{
    body::Body,
    channel::{ChannelEndpoint, ChannelFuture},
    connect::{Connector, HttpVersion},
    connection::{Connection, ResponseFuture},
    rate::{OverShare, Rate, TooSlow},
    rated::Rated,
    request::RequestBody,
    share::network_of,
};
#[cfg(feature = "tls")]
pub(crate) use self::{
    followed::{Followed, LOOK},
    spiffe::{Allowed, check_claim},
};
#[cfg(feature = "tls")]
pub use self::{
    pem::InvalidTls,
    spiffe::{InvalidSpiffeId, SpiffeId},
    tls::Tls,
};
