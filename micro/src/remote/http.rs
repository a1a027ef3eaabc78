//! Requests to one HTTP server.

use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use micro_discover::{Address, Endpoint};
use micro_tower::transport::{Body as ResponseBody, Connection, Connector};
use tokio::time::timeout;
use tonic::body::Body;
use tower::{BoxError, Service, ServiceExt};

use crate::lines::Lines;

/// An answer is 16 MiB at most.
const LARGEST: usize = 16 << 20;

/// Time ran out.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(super) struct Late(pub(super) Duration);

/// An HTTP server.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    connection: Connection<Body>,
}

impl Http {
    pub(crate) fn new(address: &Address) -> Self {
        let connector = Connector::http1().service("the sidecar");
        Self { connection: connector.connect(&Endpoint::new("it", address.clone())) }
    }

    /// Sends one request, and gives the answer as soon as it begins, within `limit`.
    pub(crate) async fn open(
        &self,
        request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<ResponseBody>, BoxError> {
        let mut connection = self.connection.clone();
        let sent = async { connection.ready().await?.call(request).await };
        timeout(limit, sent).await.map_err(|_| Late(limit))?
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
        let request = request(method, path, headers, body)?;
        let sent = async {
            let (head, body) = self.open(request, limit).await?.into_parts();
            Ok((head.status, whole(body).await?))
        };
        timeout(limit, sent).await.map_err(|_| Late(limit))?
    }
}

/// One request.
pub(crate) fn request(
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Body>, BoxError> {
    let mut request = Request::new(Body::new(Full::new(body)));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// All of an answer.
pub(super) async fn whole(body: ResponseBody) -> Result<Bytes, BoxError> {
    Ok(Limited::new(body, LARGEST).collect().await?.to_bytes())
}

/// The lines of an answer as they come, without their ends. One that is too long ends them.
pub(super) fn lines(body: ResponseBody) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    stream::unfold((body, Lines::default(), false), |(mut body, mut lines, mut ended)| async move {
        loop {
            if let Some(line) = lines.next() {
                return Some((Ok(line), (body, lines, ended)));
            }
            if ended {
                let rest = lines.rest()?;
                return Some((Ok(rest), (body, lines, ended)));
            }
            if lines.len() > LARGEST {
                let why = format!("a line is longer than {LARGEST} bytes");
                return Some((Err(why.into()), (body, Lines::default(), true)));
            }
            match body.frame().await {
                Some(Ok(frame)) => lines.push(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(error)) => return Some((Err(error), (body, Lines::default(), true))),
                None => ended = true,
            }
        }
    })
}
