//! Asks one agent over HTTP, and the next one when that fails.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tower::BoxError;

use super::BACKEND;
use super::tls::Connector;
use crate::invalid::Invalid;
use crate::registry::Error;

/// On whose behalf, and where, is asked.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) token: Option<String>,
    pub(super) datacenter: Option<String>,
    pub(super) namespace: Option<String>,
}

pub(super) struct Agents {
    hosts: Vec<String>,
    token: Option<HeaderValue>,
    /// The part of a query that is the same for all, for reading and for writing.
    reading: String,
    writing: String,
    tls: Option<Connector>,
    turn: AtomicUsize,
}

/// A connection to an agent.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How long an agent may take to accept a connection, encrypted or not.
const CONNECT: Duration = Duration::from_secs(1);
/// How long it may take to answer what does not wait: an agent looks for a leader for seven seconds.
const ANSWER: Duration = Duration::from_secs(3);
const LARGEST: usize = 64 << 20;
const LONGEST_REASON: usize = 200;

/// An answer that says yes, and what else.
pub(super) struct Answer<T> {
    pub(super) index: u64,
    pub(super) said: T,
}

/// Why an agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the agent {agent} did not answer within {limit:?}")]
    Late { agent: String, limit: Duration },
    #[error("the agent {agent} cannot be reached")]
    Connection { agent: String, source: BoxError },
    #[error("the agent {agent} answered {status}: {reason}")]
    Refused { agent: String, status: StatusCode, reason: String },
    #[error("the agent answered something else than its protocol says: {0}")]
    Junk(String),
}

impl Trouble {
    /// Whether another agent may well do better.
    fn is_of_agent(&self) -> bool {
        match self {
            Self::Refused { status, reason, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    // Somebody else has its place, or stands before it: an agent refuses in plain text.
                    || status.is_redirection()
                    || reason.starts_with('<')
            }
            _ => true,
        }
    }

    fn late(agent: &str, limit: Duration) -> Self {
        Self::Late { agent: agent.to_owned(), limit }
    }

    fn connection(agent: &str, source: impl Into<BoxError>) -> Self {
        Self::Connection { agent: agent.to_owned(), source: source.into() }
    }

    pub(super) fn cannot(self, what: &str) -> Error {
        Error::Unavailable { backend: BACKEND, what: what.to_owned(), source: self.into() }
    }
}

impl Agents {
    pub(super) fn new(hosts: Vec<String>, scope: Scope, tls: Option<Connector>) -> Result<Self, Invalid> {
        let token = scope.token.map(|token| {
            let mut token =
                HeaderValue::try_from(token).map_err(|_| Invalid::new("the token: it is no header"))?;
            token.set_sensitive(true);
            Ok(token)
        });
        let namespace = scope.namespace.map(|ns| format!("&ns={}", escape(&ns))).unwrap_or_default();
        let datacenter = scope.datacenter.map(|dc| format!("&dc={}", escape(&dc))).unwrap_or_default();
        let reading = format!("{datacenter}{namespace}");
        let (token, turn) = (token.transpose()?, AtomicUsize::new(0));
        Ok(Self { hosts, token, reading, writing: namespace, tls, turn })
    }

    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Reads `path`, which has a query, from whichever agent answers.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Trouble> {
        self.ask(Method::GET, &format!("{path}{}", self.reading), Bytes::new()).await
    }

    /// Reads `path`, which waits for news, from the agent in use. It is the next one's turn if that fails.
    pub(super) async fn wait<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<Answer<T>, Trouble> {
        let path = format!("{path}{}", self.reading);
        let turn = self.turn.load(Relaxed);
        let waited = self.within(limit, turn, Method::GET, &path, Bytes::new()).await;
        if waited.as_ref().is_err_and(Trouble::is_of_agent) {
            self.give_up(turn);
        }
        waited
    }

    /// Reads `path` of the agent itself, where announcements are.
    pub(super) async fn own<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Trouble> {
        self.ask(Method::GET, &format!("{path}{}", self.writing), Bytes::new()).await
    }

    pub(super) async fn write(&self, path: &str, body: Vec<u8>) -> Result<(), Trouble> {
        let written = self.ask(Method::PUT, &format!("{path}{}", self.writing), body.into()).await;
        written.map(|Answer { said: IgnoredAny, .. }| ())
    }

    /// Asks each agent once, until one answers.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, Trouble> {
        let mut tries = self.hosts.len();
        loop {
            tries -= 1;
            let turn = self.turn.load(Relaxed);
            match self.within(ANSWER, turn, method.clone(), path, body.clone()).await {
                Err(trouble) if trouble.is_of_agent() => {
                    self.give_up(turn);
                    if tries == 0 {
                        return Err(trouble);
                    }
                }
                answered => return answered,
            }
        }
    }

    /// Lets the next agent have a go, unless someone else already said so about this turn.
    fn give_up(&self, turn: usize) {
        self.turn.compare_exchange(turn, turn.wrapping_add(1), Relaxed, Relaxed).ok();
    }

    async fn within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        turn: usize,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, Trouble> {
        let host = &self.hosts[turn % self.hosts.len()];
        let asked = timeout(limit, self.once(host, method, path, body)).await;
        let Answer { index, said } = asked.unwrap_or_else(|_| Err(Trouble::late(host, limit)))?;
        // Who says nothing has done it.
        let json = if said.is_empty() { b"null" } else { &*said };
        let said = serde_json::from_slice(json).map_err(|error| Trouble::Junk(error.to_string()))?;
        Ok(Answer { index, said })
    }

    async fn connect(&self, host: &str) -> Result<Box<dyn Stream>, Trouble> {
        let broken = |error: std::io::Error| Trouble::connection(host, error);
        let stream = TcpStream::connect(host).await.map_err(broken)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| Trouble::connection(host, error))?;
        Ok(Box::new(tls.now().connect(name, stream).await.map_err(broken)?))
    }

    async fn once(
        &self,
        host: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<Bytes>, Trouble> {
        let broken = |error: hyper::Error| Trouble::connection(host, error);
        let connected = timeout(CONNECT, self.connect(host)).await;
        let stream = connected.unwrap_or_else(|_| Err(Trouble::late(host, CONNECT)))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .body(Full::new(body))
            .map_err(|error| Trouble::connection(host, error))?;
        if let Some(token) = &self.token {
            request.headers_mut().insert("x-consul-token", token.clone());
        }
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| Trouble::connection(host, error))?.to_bytes();
            Ok::<_, Trouble>((head, body))
        };
        // The connection lives and ends with this exchange, which learns itself of what goes wrong with it.
        let driven = async {
            connection.await.ok();
            std::future::pending::<Infallible>().await
        };
        let (head, body) = tokio::select! {
            done = exchange => done?,
            never = driven => match never {},
        };
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        if !head.status.is_success() {
            let text = String::from_utf8_lossy(&body);
            let reason = text.trim().chars().take(LONGEST_REASON).collect();
            return Err(Trouble::Refused { agent: host.to_owned(), status: head.status, reason });
        }
        if header("x-consul-knownleader") == Some("false") {
            return Err(Trouble::Junk("it knows no leader".to_owned()));
        }
        if header("x-consul-results-filtered-by-acls") == Some("true") {
            return Err(Trouble::Junk("the token may not read all of it".to_owned()));
        }
        let index = header("x-consul-index").and_then(|index| index.parse().ok()).unwrap_or(0);
        Ok(Answer { index, said: body })
    }
}

/// `text` as one segment of a path or value of a query.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes everything");
        }
    }
    escaped
}
