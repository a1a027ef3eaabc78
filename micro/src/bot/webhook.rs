//! A webhook as an input: for chats that the bot has no other words for.
//!
//! `POST /webhook` with `{"user": "ann", "room": "ops", "text": "list", "id": "1"}` (`room` and `id` may be left out) and
//! `authorization: Bearer TOKEN` is answered with `{"text": "…", "whole": …}`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_core::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};
use micro_tower::Server;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tower::BoxError;

use super::heard::{Heard, Input, Speaker};
use super::mount::{Ear, Mounted};

/// A larger request is refused.
const LARGEST: usize = 64 << 10;
/// How many connections there may be at a time; more wait.
const CONNECTIONS: usize = 1024;
/// How long requests that have begun may take after the end.
const GRACE: Duration = Duration::from_secs(5);

/// Messages by HTTP, from programs that know a token.
pub struct Webhook {
    token: Arc<[u8]>,
    address: SocketAddr,
}

impl Webhook {
    /// Listens on `address` for those who know `token`.
    pub fn new(token: &str, address: SocketAddr) -> Self {
        Self { token: hash(token).into(), address }
    }

    /// A router with `POST /webhook` for those who know `token`, to be merged into an application's own, and the input that
    /// hears what comes there.
    ///
    /// ```
    /// use micro::bot::{Bot, webhook::Webhook};
    /// use micro::command::Context;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), micro::command::Failure> {
    /// let (input, router) = Webhook::mounted("open sesame");
    /// let bot = Bot::builder(Context::open("memory:")?).build(vec![Box::new(input)]).expect("there is an input");
    /// tokio::spawn(bot.run());
    /// let app: axum::Router = axum::Router::new().merge(router);
    /// # drop(app);
    /// # Ok(())
    /// # }
    /// ```
    pub fn mounted(token: &str) -> (Mounted, Router) {
        Mounted::new("webhook", |ear| routes(hash(token).into(), ear))
    }
}

/// What `POST /webhook` says to `ear`.
fn routes(token: Arc<[u8]>, ear: Ear) -> Router {
    let routes = Router::new().route("/webhook", post(take)).layer(DefaultBodyLimit::max(LARGEST));
    routes.with_state((token, ear))
}

#[derive(Debug, Deserialize)]
struct Message {
    user: String,
    room: Option<String>,
    text: String,
    id: Option<String>,
}

async fn take(
    State((token, ear)): State<(Arc<[u8]>, Ear)>,
    headers: HeaderMap,
    message: Result<Json<Message>, JsonRejection>,
) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    // Digests are compared, so what the time it takes tells is of no use.
    if given.is_none_or(|given| hash(given) != *token) {
        return (StatusCode::UNAUTHORIZED, "authorization: Bearer TOKEN is missing or wrong\n")
            .into_response();
    }
    let message = match message {
        Ok(Json(message)) => message,
        Err(wrong) => return wrong.into_response(),
    };
    let id = message.id.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
    let speaker = Speaker::new("webhook", message.user, message.room);
    let (message, mut answers) = Heard::new(id, speaker, message.text);
    let sent = match ear.heard() {
        Some(heard) => heard.send(message).await.is_ok(),
        None => false,
    };
    if !sent {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match answers.recv().await {
        Some(answer) => Json(json!({ "text": answer.text, "whole": answer.whole })).into_response(),
        // It was said before, or was no command.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Serves `routes` until nobody takes what is heard. Anybody may connect: who says nothing is cut off after a while.
pub(super) async fn serve(
    address: SocketAddr,
    routes: Router,
    heard: &mpsc::Sender<Heard>,
) -> Result<(), BoxError> {
    let server = Server::new().address(address).health(false).max_connections(CONNECTIONS).grace(GRACE);
    let bound = server.bind().await?;
    tracing::info!(%address, "listening");
    let closed = heard.clone();
    Ok(bound.serve_until(routes, async move { closed.closed().await }).await?)
}

fn hash(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

impl Input for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn run(&self, heard: mpsc::Sender<Heard>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let routes = routes(self.token.clone(), Ear::to(heard.clone()));
            serve(self.address, routes, &heard).await
        })
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("address", &self.address).finish_non_exhaustive()
    }
}
