//! How endpoints are connected to: settings, and the dialling itself.

use std::{io, sync::Arc, time::Duration};

use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::{TcpStream, UnixStream};
use tower::{BoxError, ServiceExt as _};

use super::{
    brokers::Brokers,
    io::{Io, Stream},
    target::Target,
};
#[cfg(feature = "tls")]
use super::{foreign::Foreign, tls::Tls};
use crate::{endless::bounded, pipe::memory};

/// Which HTTP an endpoint is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// What the peer chooses by ALPN where there is TLS, else HTTP/2 at once: what gRPC needs.
    #[default]
    Auto,
    /// HTTP/1.1, several connections with one request each.
    Http1,
    /// HTTP/2, one connection with many requests.
    Http2,
}

/// Connects to endpoints; [`connect`](Self::connect) gives a service for one of them.
///
/// What is set here holds for all of them. Durations count from zero; a duration that is too long only waits
/// longer.
#[derive(Clone, Debug)]
#[must_use]
pub struct Connector {
    pub(super) connect_timeout: Duration,
    pub(super) nodelay: bool,
    pub(super) tcp_keepalive: Option<Duration>,
    pub(super) http_version: HttpVersion,
    pub(super) ping_interval: Option<Duration>,
    pub(super) ping_timeout: Duration,
    pub(super) max_connections: usize,
    pub(super) http2_requests: usize,
    pub(super) http1_max_connections: usize,
    pub(super) http1_max_idle: usize,
    pub(super) http1_idle_timeout: Duration,
    pub(super) stream_window: u32,
    pub(super) connection_window: u32,
    pub(super) max_header_bytes: u32,
    pub(super) authority: Option<Authority>,
    pub(super) service: Option<Arc<str>>,
    brokers: Brokers,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Default for Connector {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            nodelay: true,
            tcp_keepalive: Some(Duration::from_secs(60)),
            http_version: HttpVersion::Auto,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(10),
            max_connections: 4,
            http2_requests: 0,
            http1_max_connections: 256,
            http1_max_idle: 32,
            http1_idle_timeout: Duration::from_secs(60),
            stream_window: 2 << 20,
            connection_window: 5 << 20,
            max_header_bytes: 16 << 10,
            authority: None,
            service: None,
            brokers: Brokers::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Connector {
    /// The defaults, good for most: see each setting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Speaks HTTP/1.1.
    pub fn http1() -> Self {
        Self::new().http_version(HttpVersion::Http1)
    }

    /// Speaks HTTP/2, without asking the peer where there is no TLS.
    pub fn http2() -> Self {
        Self::new().http_version(HttpVersion::Http2)
    }

    /// Which HTTP is spoken; [`Auto`](HttpVersion::Auto) unless set.
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.http_version = version;
        self
    }

    /// The longest that connecting may take, up to the peer's first words in HTTP/2; 1 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = bounded(timeout);
        self
    }

    /// Whether small packets go out at once; true unless set.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// How long a TCP connection is silent before the kernel asks after it; 60 s unless set.
    pub fn tcp_keepalive(mut self, idle: Option<Duration>) -> Self {
        self.tcp_keepalive = idle;
        self
    }

    /// How long an HTTP/2 connection with open streams may be silent before it is sent a PING; 20 s unless
    /// set. Doubled for an endpoint that complains of too many.
    ///
    /// A request that is given up before the peer has said a word has a PING sent at once. Where nothing comes back
    /// within [`connect_timeout`](Self::connect_timeout), the endpoint is connected to anew, and what is under way on
    /// the old connection still has its time. `None` sends no PINGs at all.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.ping_interval = interval.map(bounded);
        self
    }

    /// How long the answer to a PING may take before the connection is given up; 10 s unless set.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = bounded(timeout);
        self
    }

    /// How many HTTP/2 connections one endpoint may get, each opened when the streams that the peer allows on
    /// the others are in use; 4 unless set, 1 at least.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// For how many requests at a time an endpoint gets HTTP/2 connections beyond [`max_connections`](Self::max_connections),
    /// where it allows few streams on each; none unless set.
    pub fn http2_requests(mut self, most: usize) -> Self {
        self.http2_requests = most;
        self
    }

    /// How many HTTP/1 connections, and so requests at a time, one endpoint may get, 256 unless set; and how
    /// many of them are kept when idle, 32 unless set.
    pub fn http1_connections(mut self, most: usize, idle: usize) -> Self {
        self.http1_max_connections = most.max(1);
        self.http1_max_idle = idle;
        self
    }

    /// How long an idle HTTP/1 connection may be used again; 60 s unless set.
    pub fn http1_idle_timeout(mut self, timeout: Duration) -> Self {
        self.http1_idle_timeout = bounded(timeout);
        self
    }

    /// What requests say they are for (`:authority`, `host`), instead of the endpoint's address.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// The service that errors are about; a [`Client`](crate::Client) sets it.
    pub fn service(mut self, name: impl Into<Arc<str>>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// The broker at which endpoints with an address such as `nats://micro.rpc.greeter` are called, as
    /// `nats://name:password@host:4222`: for all of its kind, whatever they say themselves. One for each kind may
    /// be given. Without it, endpoints say at which broker they are, and need no password.
    pub fn broker(mut self, url: impl Into<String>) -> Self {
        self.brokers.add(url.into());
        self
    }

    /// How `https` endpoints are trusted; by the authorities of this machine unless set.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The longest head of an answer in HTTP/1.
    pub(super) fn most_head(&self) -> usize {
        (self.max_header_bytes as usize).max(8 << 10)
    }

    /// How many HTTP/2 connections an endpoint may get that allows so many `streams` on each.
    pub(super) fn most_http2(&self, streams: usize) -> usize {
        self.max_connections.max(self.http2_requests.div_ceil(streams.max(1)))
    }

    /// Connects to `target` and says which HTTP it speaks. May take for ever.
    pub(super) async fn dial(&self, target: &Target) -> Result<(Io, HttpVersion), BoxError> {
        let plain = match self.http_version {
            HttpVersion::Http1 => HttpVersion::Http1,
            HttpVersion::Http2 | HttpVersion::Auto => HttpVersion::Http2,
        };
        match target.scheme() {
            "http" => Ok((Io::new(Stream::Tcp(self.tcp(target).await?)), plain)),
            "unix" => Ok((Io::new(Stream::Unix(socket(target).await?)), plain)),
            "https" => self.secure(target).await,
            "memory" => Ok((Io::new(Stream::Memory(memory::dial(target.address().authority())?)), plain)),
            "nats" => Ok((Io::new(self.brokers.nats(target).await?), HttpVersion::Http2)),
            "rabbitmq" | "amqp" => Ok((Io::new(self.brokers.rabbitmq(target).await?), HttpVersion::Http2)),
            other => Err(format!("there is no transport for {other}:// addresses").into()),
        }
    }

    async fn tcp(&self, target: &Target) -> Result<TcpStream, BoxError> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(self.nodelay);
        connector.set_keepalive(self.tcp_keepalive);
        let uri = target.uri().ok_or("the address has no host and port")?;
        Ok(connector.oneshot(uri).await?.into_inner())
    }

    /// The NATS server that `target` is called at.
    #[cfg(feature = "nats")]
    pub(super) async fn nats(&self, target: &Target) -> Result<async_nats::Client, BoxError> {
        Ok(self.brokers.nats_for(target).await?.client())
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, target: &Target) -> Result<(Io, HttpVersion), BoxError> {
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => system_tls().await?,
        };
        let tls = tls.offering(match self.http_version {
            HttpVersion::Auto => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        });
        let stream = self.tcp(target).await?;
        let stream = tls.handshake(target.host().unwrap_or_default(), stream).await?;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => HttpVersion::Http2,
            _ if self.http_version == HttpVersion::Http2 => {
                return Err(Foreign::NoProtocol.into());
            }
            _ => HttpVersion::Http1,
        };
        Ok((Io::new(Stream::Tls(Box::new(stream))), version))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, _: &Target) -> Result<(Io, HttpVersion), BoxError> {
        Err("this program was built without TLS".into())
    }
}

async fn socket(target: &Target) -> io::Result<UnixStream> {
    let path = target.socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    UnixStream::connect(path).await
}

/// The machine's authorities are read once: there may be hundreds.
#[cfg(feature = "tls")]
async fn system_tls() -> Result<Tls, BoxError> {
    static SYSTEM: tokio::sync::OnceCell<Tls> = tokio::sync::OnceCell::const_new();
    let read = || async { tokio::task::spawn_blocking(Tls::system).await?.map_err(BoxError::from) };
    Ok(SYSTEM.get_or_try_init(read).await?.clone())
}
