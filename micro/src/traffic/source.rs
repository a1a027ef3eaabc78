//! Follows the requests that another face of Micro sees.

use std::time::Duration;

use futures_util::future::poll_fn;
use http::{HeaderValue, Request, header};
use http_body::Body as _;
use micro_discover::{Address, Endpoint};
use micro_tower::transport::Connector;
use tokio::time::timeout;
use tonic::body::Body;
use tower::{BoxError, Service as _, ServiceExt as _};

use super::batch::Batch;
use crate::lines::Lines;

/// How long a face may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A face says every few seconds that it is still there: when nothing has come for this long, nothing will.
const SILENCE: Duration = Duration::from_secs(20);
/// A longer event is none of ours.
const LONGEST: usize = 4 << 20;

/// Gives every batch that the stream at `path` of `address` tells to `take`, until the stream ends.
///
/// # Errors
///
/// Where there is no such stream, or it breaks off.
pub(crate) async fn follow(
    address: &Address,
    path: &str,
    token: Option<&str>,
    mut take: impl FnMut(Batch),
) -> Result<(), BoxError> {
    let mut request = Request::get(path).header(header::ACCEPT, "text/event-stream");
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.header(header::HOST, address.authority()).body(Body::empty())?;
    let connector = Connector::http1().connect_timeout(ANSWER_WITHIN).service("a feed of requests");
    let mut connection = connector.connect(&Endpoint::new("it", address.clone()));
    let asked = async { connection.ready().await?.call(request).await };
    let response = timeout(ANSWER_WITHIN, asked).await.map_err(|_| "no answer")??;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()).into());
    }
    // It is there, and may have nothing to tell for long.
    take(Batch::default());
    let mut body = std::pin::pin!(response.into_body());
    let mut lines = Lines::default();
    while let Some(frame) = timeout(SILENCE, poll_fn(|cx| body.as_mut().poll_frame(cx)))
        .await
        .map_err(|_| "it has fallen silent")?
        .transpose()?
    {
        let Some(data) = frame.data_ref() else { continue };
        lines.push(data);
        while let Some(line) = lines.next() {
            // Other lines end an event, or are comments: the stream says that it is still there.
            if let Some(json) = line.strip_prefix(b"data: ") {
                take(serde_json::from_slice(json)?);
            }
        }
        if lines.len() > LONGEST {
            return Err("an event is too long".into());
        }
    }
    Ok(())
}
