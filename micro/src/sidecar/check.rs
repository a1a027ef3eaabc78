//! Whether the program beside the sidecar is well: asked by HTTP, gRPC or TCP.

use std::str::FromStr;
use std::time::Duration;

use http::{Request, StatusCode};
use micro_discover::{Address, Endpoint};
use micro_tower::transport::{Connection, Connector, HttpVersion};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service, ServiceExt};

/// How a program is asked whether it is well.
///
/// `http://127.0.0.1:9090/health` is well when it answers 200, `grpc://127.0.0.1:9090/package.Service` when it says
/// SERVING, `tcp://127.0.0.1:9090` when it takes a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    kind: Kind,
    address: Address,
    /// A path, or the name of a gRPC service.
    what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Grpc,
    Tcp,
}

/// A text that says no check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no health check: it is http://host:port/path, grpc://host:port/service or tcp://host:port")]
pub struct InvalidCheck(String);

/// Why a program is not well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwell {
    /// It answered, and not well.
    #[error("Non 200 response: {}", .0.as_u16())]
    Status(StatusCode),
    /// It did not answer.
    #[error("{0}")]
    Silent(String),
}

impl FromStr for Check {
    type Err = InvalidCheck;

    fn from_str(text: &str) -> Result<Self, InvalidCheck> {
        let wrong = || InvalidCheck(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (kind, written) = match scheme {
            "http" | "https" => (Kind::Http, format!("{scheme}://{authority}")),
            "grpc" => (Kind::Grpc, authority.to_owned()),
            "tcp" => (Kind::Tcp, authority.to_owned()),
            _ => return Err(wrong()),
        };
        let what = match kind {
            Kind::Http if path.is_empty() => "/",
            Kind::Http => path,
            _ => path.trim_matches('/'),
        };
        let address: Address = written.parse().map_err(|_| wrong())?;
        Ok(Self { kind, address, what: what.to_owned() })
    }
}

impl Check {
    /// Asks, and waits so long for an answer.
    pub(super) async fn ask(&self, within: Duration) -> Result<(), Unwell> {
        let asked = async {
            match self.kind {
                Kind::Http => self.http().await,
                Kind::Grpc => self.grpc().await,
                Kind::Tcp => TcpStream::connect(self.address.authority()).await.map(drop).map_err(silent),
            }
        };
        let late = |_| Unwell::Silent(format!("{} did not answer within {within:?}", self.address));
        timeout(within, asked).await.map_err(late)?
    }

    async fn http(&self) -> Result<(), Unwell> {
        let request = Request::get(self.what.as_str())
            .header(http::header::HOST, self.address.authority())
            .header(http::header::USER_AGENT, "micro-sidecar")
            .body(Body::empty())
            .map_err(silent)?;
        let mut connection = self.connect(Connector::new().http_version(HttpVersion::Http1)).await?;
        let response = connection.call(request).await.map_err(silent)?;
        match response.status() {
            StatusCode::OK => Ok(()),
            status => Err(Unwell::Status(status)),
        }
    }

    async fn grpc(&self) -> Result<(), Unwell> {
        let connection = self.connect(Connector::http2()).await?;
        let question = HealthCheckRequest { service: self.what.clone() };
        let answer = HealthClient::new(connection).check(question).await.map_err(silent)?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            _ => Err(Unwell::Status(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }

    async fn connect(&self, connector: Connector) -> Result<Connection<Body>, Unwell> {
        let mut connection = connector.connect_with(&Endpoint::new("app", self.address.clone()));
        ServiceExt::<Request<Body>>::ready(&mut connection).await.map_err(silent)?;
        Ok(connection)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn silent(error: impl ToString) -> Unwell {
    Unwell::Silent(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_how_and_what() {
        let check: Check = "http://127.0.0.1:9090/_status/health".parse().unwrap();
        assert_eq!((check.kind, check.what.as_str()), (Kind::Http, "/_status/health"));
        let check: Check = "grpc://127.0.0.1:9090/greeter.Greeter".parse().unwrap();
        assert_eq!((check.kind, check.what.as_str()), (Kind::Grpc, "greeter.Greeter"));
        assert!("tcp://127.0.0.1:9090".parse::<Check>().is_ok());
        for text in ["", "127.0.0.1:1", "ftp://a:1", "http://", "http:///path"] {
            assert!(text.parse::<Check>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_port_that_listens_is_well_and_one_that_does_not_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let check: Check = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        assert_eq!(check.ask(Duration::from_secs(10)).await, Ok(()));
        drop(listener);
        assert!(matches!(check.ask(Duration::from_secs(10)).await, Err(Unwell::Silent(_))));
    }
}
