//! One question to one agent, over a connection of its own.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tower::BoxError;

use super::BACKEND;
use super::tls::Connector;
use crate::registry::Error;

/// How every agent is asked.
pub(super) struct Line {
    pub(super) token: Option<HeaderValue>,
    pub(super) tls: Option<Connector>,
}

/// A connection to an agent.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An answer that says yes, and what else.
pub(super) struct Answer<T> {
    pub(super) index: u64,
    pub(super) said: T,
}

/// How long an agent may take to accept a connection, encrypted or not.
const CONNECT: Duration = Duration::from_secs(1);
const LARGEST: usize = 64 << 20;
const LONGEST_REASON: usize = 200;

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
    pub(super) fn is_of_agent(&self) -> bool {
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

    pub(super) fn late(agent: &str, limit: Duration) -> Self {
        Self::Late { agent: agent.to_owned(), limit }
    }

    fn connection(agent: &str, source: impl Into<BoxError>) -> Self {
        Self::Connection { agent: agent.to_owned(), source: source.into() }
    }

    pub(super) fn cannot(self, what: &str) -> Error {
        Error::Unavailable { backend: BACKEND, what: what.to_owned(), source: self.into() }
    }
}

impl Line {
    async fn connect(&self, host: &str) -> Result<Box<dyn Stream>, Trouble> {
        let broken = |error: std::io::Error| Trouble::connection(host, error);
        let stream = TcpStream::connect(host).await.map_err(broken)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| Trouble::connection(host, error))?;
        Ok(Box::new(tls.now().connect(name, stream).await.map_err(broken)?))
    }

    /// Asks the agent at `host` over a connection of its own.
    pub(super) async fn ask(
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
