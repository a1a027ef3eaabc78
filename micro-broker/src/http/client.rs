//! Posts one event to one subscriber.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::event::Event;
use crate::http::directory::Target;
use crate::http::wire;

/// What a subscriber answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was handled.
    Handled,
    /// It failed, and is to come again after this long.
    Again(Duration),
    /// It was sent, and nothing was heard.
    Lost,
    /// Nobody has seen it.
    Unsent,
}

/// Connections to subscribers.
#[derive(Debug)]
pub(super) struct Client {
    inner: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Client {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        connector.set_nodelay(true);
        Self { inner: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector) }
    }

    pub(super) async fn post(&self, target: &Target, event: &Event) -> Answer {
        let Some(request) = wire::request(target, event) else { return Answer::Unsent };
        match timeout(target.ack_wait, self.inner.request(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Answer::Handled,
            // Another process has this address now, or the subscription has ended.
            Ok(Ok(response)) if response.status() == StatusCode::NOT_FOUND => Answer::Unsent,
            Ok(Ok(response)) => Answer::Again(wire::again_after(response.headers())),
            Ok(Err(error)) if error.is_connect() => Answer::Unsent,
            Ok(Err(_)) | Err(_) => Answer::Lost,
        }
    }
}
