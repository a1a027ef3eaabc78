//! Carries a request to one endpoint: over HTTP/2, HTTP/1, TLS and unix sockets.

mod body;
mod channel;
mod connect;
mod connection;
mod gomicro;
mod http1;
mod http2;
mod io;
mod keepalive;
#[cfg(feature = "tls")]
pub(crate) mod pem;
mod request;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod upload;

pub use self::{
    body::Body,
    channel::{ChannelEndpoint, ChannelFuture},
    connect::{Connector, HttpVersion},
    connection::{Connection, ResponseFuture},
    request::RequestBody,
};
#[cfg(feature = "tls")]
pub use self::{pem::InvalidTls, tls::Tls};
