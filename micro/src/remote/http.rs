//! Requests to one HTTP server.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use micro_discover::{Address, Endpoint};
use micro_tower::transport::{Connection, Connector};
use tokio::time::timeout;
use tonic::body::Body;
use tower::{BoxError, Service, ServiceExt};

/// An answer is 16 MiB at most.
const LARGEST: usize = 16 << 20;

/// An HTTP server.
#[derive(Clone, Debug)]
pub(super) struct Http {
    connection: Connection<Body>,
}

impl Http {
    pub(super) fn new(address: &Address) -> Self {
        let connector = Connector::http1().service("the sidecar");
        Self { connection: connector.connect(&Endpoint::new("it", address.clone())) }
    }

    /// Sends one request, and takes all of the answer, within `limit`.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        let mut request = Request::new(Body::new(Full::new(body)));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(path)?;
        *request.headers_mut() = headers;
        let mut connection = self.connection.clone();
        let sent = async {
            let response = connection.ready().await?.call(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST).collect().await?;
            Ok((head.status, body.to_bytes()))
        };
        timeout(limit, sent).await.map_err(|_| format!("no answer within {limit:?}"))?
    }
}

/// `text` as a value in a query.
pub(super) fn escaped(text: &str) -> String {
    let each = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    each.collect()
}
