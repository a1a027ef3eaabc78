//! The few methods of Slack's Web API that a bot needs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tower::BoxError;

/// How long Slack may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How often a call is made again that Slack has put off.
const TRIES: usize = 3;
/// The longest that Slack may put a call off.
const PUT_OFF: Duration = Duration::from_secs(60);
/// A longer answer is none of Slack's.
const LONGEST: usize = 4 << 20;

/// Slack's Web API. Clones share connections.
#[derive(Clone)]
pub struct Api {
    base: Arc<str>,
    token: Arc<str>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why Slack did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlackError {
    /// Slack cannot be reached, or not understood.
    #[error("slack cannot be asked for {method}")]
    Unavailable {
        /// The method.
        method: &'static str,
        /// Why not.
        #[source]
        source: BoxError,
    },
    /// Slack refuses.
    #[error("slack refuses {method}: {error}")]
    Refused {
        /// The method.
        method: &'static str,
        /// Slack's word for why, such as `invalid_auth`.
        error: String,
    },
}

impl Api {
    /// Slack itself, by `token`.
    ///
    /// # Errors
    ///
    /// Where this machine has no certificates of authorities.
    pub fn new(token: &str) -> std::io::Result<Self> {
        Self::at("https://slack.com/api", token)
    }

    /// Slack at another URL, for a stand-in.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn at(base: &str, token: &str) -> std::io::Result<Self> {
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { base: base.trim_end_matches('/').into(), token: token.into(), client })
    }

    /// The same with another token.
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// The bot's own user.
    pub(super) async fn who_am_i(&self) -> Result<String, SlackError> {
        self.text("auth.test", &json!({}), "user_id").await
    }

    /// Where a socket is to be opened.
    pub(super) async fn open_socket(&self) -> Result<String, SlackError> {
        self.text("apps.connections.open", &json!({}), "url").await
    }

    pub(super) async fn post_message(&self, message: &Value) -> Result<(), SlackError> {
        self.call("chat.postMessage", message).await.map(drop)
    }

    /// Shares a file of `text` in a channel.
    pub(super) async fn upload(
        &self,
        channel: &str,
        thread: Option<&str>,
        text: String,
    ) -> Result<(), SlackError> {
        const METHOD: &str = "files.getUploadURLExternal";
        let form = format!("filename=answer.txt&length={}", text.len());
        let place = self.send(METHOD, "application/x-www-form-urlencoded", form.into()).await?;
        let field = |key: &str| place[key].as_str().map(str::to_owned).ok_or_else(|| odd(METHOD));
        let (url, id) = (field("upload_url")?, field("file_id")?);
        let url: Uri = url.parse().map_err(|error| unavailable(METHOD, error))?;
        let request = Request::post(url).header(header::CONTENT_TYPE, "application/octet-stream");
        let request = request.body(Full::from(text)).map_err(|error| unavailable(METHOD, error))?;
        let (status, ..) = self.exchange(METHOD, request).await?;
        if !status.is_success() {
            return Err(SlackError::Refused { method: METHOD, error: status.to_string() });
        }
        let mut done = json!({ "files": [{ "id": id, "title": "answer.txt" }], "channel_id": channel });
        if let Some(thread) = thread {
            done["thread_ts"] = thread.into();
        }
        self.call("files.completeUploadExternal", &done).await.map(drop)
    }

    async fn text(&self, method: &'static str, request: &Value, key: &str) -> Result<String, SlackError> {
        let answer = self.call(method, request).await?;
        answer[key].as_str().map(str::to_owned).ok_or_else(|| odd(method))
    }

    async fn call(&self, method: &'static str, request: &Value) -> Result<Value, SlackError> {
        self.send(method, "application/json; charset=utf-8", request.to_string().into()).await
    }

    /// Calls, and again where Slack says when.
    async fn send(&self, method: &'static str, kind: &str, body: Bytes) -> Result<Value, SlackError> {
        for _ in 0..TRIES {
            let request = Request::post(format!("{}/{method}", self.base))
                .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
                .header(header::CONTENT_TYPE, kind)
                .body(Full::new(body.clone()))
                .map_err(|error| unavailable(method, error))?;
            let (status, later, body) = self.exchange(method, request).await?;
            if status == StatusCode::TOO_MANY_REQUESTS {
                sleep(later.unwrap_or(Duration::from_secs(1)).min(PUT_OFF)).await;
                continue;
            }
            let answer: Value = serde_json::from_slice(&body).map_err(|error| unavailable(method, error))?;
            if answer["ok"] == true {
                return Ok(answer);
            }
            let error = answer["error"].as_str().unwrap_or("no reason is given").to_owned();
            return Err(SlackError::Refused { method, error });
        }
        Err(SlackError::Refused { method, error: "ratelimited".to_owned() })
    }

    async fn exchange(
        &self,
        method: &'static str,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Option<Duration>, Bytes), SlackError> {
        let exchange = async {
            let response = self.client.request(request).await?;
            let later = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let later = later.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes();
            Ok::<_, BoxError>((status, later, body))
        };
        match timeout(ANSWER_WITHIN, exchange).await {
            Ok(done) => done.map_err(|source| SlackError::Unavailable { method, source }),
            Err(late) => Err(unavailable(method, late)),
        }
    }
}

fn unavailable(method: &'static str, source: impl Into<BoxError>) -> SlackError {
    SlackError::Unavailable { method, source: source.into() }
}

fn odd(method: &'static str) -> SlackError {
    unavailable(method, "its answer lacks what it is asked for")
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}
