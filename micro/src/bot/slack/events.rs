//! The Events API: Slack's events over HTTP, to an address that Slack can reach.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use ring::hmac::{HMAC_SHA256, Key, verify};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tower::BoxError;

use super::api::Api;
use super::event::Event;
use super::reply::reply;
use crate::bot::heard::{Heard, Input};
use crate::bot::webhook::serve;

/// A request that is older, or comes from further in the future, may be somebody's who has recorded it.
const WINDOW: Duration = Duration::from_secs(300);
/// A larger request is none of Slack's.
const LARGEST: usize = 1 << 20;
/// Answers that are being waited for.
const REPLIES: usize = 256;

/// Slack by the Events API, at `POST /slack/events`.
pub struct Events {
    api: Api,
    secret: Arc<Key>,
    address: SocketAddr,
}

impl Events {
    /// Answers by `api`, whose token is the bot's, what comes to `address` and is signed by `signing_secret`.
    pub fn new(api: Api, signing_secret: &str, address: SocketAddr) -> Self {
        Self { api, secret: Arc::new(Key::new(HMAC_SHA256, signing_secret.as_bytes())), address }
    }
}

#[derive(Clone)]
struct Desk {
    api: Api,
    me: Arc<str>,
    secret: Arc<Key>,
    heard: mpsc::Sender<Heard>,
    replies: TaskTracker,
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if !is_signed(&desk.secret, &headers, &body, now) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if request["type"] == "url_verification" {
        return request["challenge"].as_str().unwrap_or_default().to_owned().into_response();
    }
    let event = serde_json::from_value::<Event>(request["event"].take()).ok();
    if let Some(said) = event.and_then(|event| event.said_to(&desk.me)) {
        if desk.replies.len() >= REPLIES {
            // Slack sends it again, later.
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        desk.replies.spawn(reply(desk.api.clone(), said, desk.heard.clone()));
    }
    StatusCode::OK.into_response()
}

/// Whether Slack has signed `body`, and not long ago.
fn is_signed(secret: &Key, headers: &HeaderMap, body: &[u8], now: Duration) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(at), Some(signature)) = (text("x-slack-request-timestamp"), text("x-slack-signature")) else {
        return false;
    };
    let Some(seconds) = at.parse().ok().map(Duration::from_secs) else { return false };
    let Some(signature) = signature.strip_prefix("v0=").and_then(bytes_of) else { return false };
    let signed = [b"v0:", at.as_bytes(), b":", body].concat();
    now.abs_diff(seconds) <= WINDOW && verify(secret, &signed, &signature).is_ok()
}

/// The bytes that hexadecimal digits name.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl Input for Events {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn run(&self, heard: mpsc::Sender<Heard>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let me = self.api.who_am_i().await?.into();
            let (api, secret, replies) = (self.api.clone(), self.secret.clone(), TaskTracker::new());
            let desk = Desk { api, me, secret, heard: heard.clone(), replies };
            let routes =
                Router::new().route("/slack/events", post(take)).layer(DefaultBodyLimit::max(LARGEST));
            serve(self.address, routes.with_state(desk), &heard).await
        })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The example of Slack's own documentation.
    const SECRET: &[u8] = b"8f742231b10e8888abcd99yyyzzz85a5";
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn headers(at: &'static str, signature: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-slack-request-timestamp", HeaderValue::from_static(at));
        headers.insert("x-slack-signature", HeaderValue::from_static(signature));
        headers
    }

    #[test]
    fn only_what_slack_has_signed_lately_is_taken() {
        let key = Key::new(HMAC_SHA256, SECRET);
        let now = Duration::from_secs(1_531_420_618);
        let signed = |headers: &HeaderMap, body: &[u8], now| is_signed(&key, headers, body, now);
        let good = headers("1531420618", SIGNATURE);
        assert!(signed(&good, BODY, now) && signed(&good, BODY, now + WINDOW));
        assert!(!signed(&good, BODY, now + WINDOW + Duration::from_secs(1)), "a recording");
        assert!(!signed(&good, b"text=register", now) && !signed(&HeaderMap::new(), BODY, now));
        for (at, signature) in [
            ("1531420619", SIGNATURE),
            ("x", SIGNATURE),
            ("1531420618", "v0=00"),
            ("1531420618", "v0=zz"),
            ("1531420618", "v0=é"),
        ] {
            let mut wrong = headers("1531420618", SIGNATURE);
            wrong.insert("x-slack-request-timestamp", HeaderValue::from_static(at));
            wrong.insert("x-slack-signature", HeaderValue::from_bytes(signature.as_bytes()).unwrap());
            assert!(!signed(&wrong, BODY, now), "{at} {signature}");
        }
    }
}
