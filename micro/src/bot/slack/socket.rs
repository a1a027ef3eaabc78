//! Socket Mode: Slack's events over a WebSocket that the bot opens.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tower::BoxError;

use super::api::Api;
use super::event::{Event, Said};
use super::reply::reply;
use crate::bot::heard::{Heard, Input};
use crate::bot::lost::Lost;

/// Slack pings every few seconds: when nothing has come for this long, nothing will.
const SILENCE: Duration = Duration::from_secs(60);
/// How long opening the socket may take.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
/// How long Slack may take to take what it is sent.
const TAKE_WITHIN: Duration = Duration::from_secs(5);
/// A longer message is none of Slack's.
const LONGEST: usize = 1 << 20;
/// Answers that are being waited for.
const REPLIES: usize = 256;

/// Slack by Socket Mode.
pub struct Socket {
    api: Api,
    app: Api,
    /// Answers under way, which need no socket and outlive the one that they came by.
    replies: Mutex<JoinSet<()>>,
    lost: Lost,
}

impl Socket {
    /// Answers by `api`, whose token is the bot's, what comes over a socket that `app_token` opens.
    pub fn new(api: Api, app_token: &str) -> Self {
        Self { app: api.with_token(app_token), api, replies: Mutex::default(), lost: Lost::new("slack") }
    }

    async fn listen(&self, heard: mpsc::Sender<Heard>) -> Result<(), BoxError> {
        let me = self.api.who_am_i().await?;
        let url = self.app.open_socket().await?;
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let (mut socket, _) =
            timeout(OPEN_WITHIN, connect_async_with_config(&url, Some(config), true)).await??;
        loop {
            let message = tokio::select! {
                message = timeout(SILENCE, socket.next()) => message.map_err(|_| "slack has fallen silent")?,
                () = heard.closed() => return Ok(()),
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                // Pings are answered by the library when it is asked for more.
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(error.into()),
            };
            // What is not understood is passed over: Slack may have new words.
            let Ok(envelope) = serde_json::from_str::<Envelope>(&text) else { continue };
            if let Some(id) = &envelope.envelope_id {
                // First of all, or Slack sends it again.
                let taken = Message::text(json!({ "envelope_id": id }).to_string());
                timeout(TAKE_WITHIN, socket.send(taken)).await.map_err(|_| "slack takes nothing")??;
            }
            if envelope.kind == "disconnect" {
                timeout(TAKE_WITHIN, socket.close(None)).await.ok();
                return Ok(());
            }
            if let Some(said) = envelope.said_to(&me) {
                self.reply(said, heard.clone());
            }
        }
    }

    fn reply(&self, said: Said, heard: mpsc::Sender<Heard>) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        while replies.try_join_next().is_some() {}
        if replies.len() >= REPLIES {
            return self.lost.one();
        }
        self.lost.room();
        replies.spawn(reply(self.api.clone(), said, heard));
    }
}

#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    envelope_id: Option<String>,
    #[serde(default)]
    payload: Value,
}

impl Envelope {
    fn said_to(mut self, me: &str) -> Option<Said> {
        match self.kind.as_str() {
            "events_api" => serde_json::from_value::<Event>(self.payload["event"].take()).ok()?.said_to(me),
            "slash_commands" => {
                let text = |key: &str| self.payload[key].as_str().map(str::to_owned);
                let channel = text("channel_id")?;
                let direct = channel.starts_with('D');
                let (user, at) = (text("user_id")?, text("trigger_id")?);
                Some(Said { user, channel, direct, thread: None, at, text: text("text")? })
            }
            _ => None,
        }
    }
}

impl Input for Socket {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn run(&self, heard: mpsc::Sender<Heard>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(self.listen(heard))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("api", &self.api).finish_non_exhaustive()
    }
}
