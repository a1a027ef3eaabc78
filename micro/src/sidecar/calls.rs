//! Everything else: methods called by path, streams of messages over a WebSocket, and requests passed on to services.

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::RequestPartsExt;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http::{Extensions, HeaderValue, Method, StatusCode, header};
use micro_balance::classify::is_grpc;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};
use tonic::Code;
use tonic::body::Body;
use tower::{BoxError, ServiceExt};

use super::socket::{MOST_BYTES, PING_EVERY, SILENCE, short, taken, write};
use super::state::{ID, Inner};
use crate::api::watched;
use crate::call::{Call, Documents, Error, Target};
use crate::proxy::{Active, Fault, Peer, Upstream};
use crate::schema::{self, Json};
use crate::transcode::metadata;

/// How many messages wait on their way from a socket to a service.
const WAITING: usize = 16;
/// How long a service may take to say what it can be asked, where its record does not.
const SAY_WITHIN: Duration = Duration::from_secs(1);
/// For how long one that did not is taken to speak plain HTTP.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Every path that is none of the sidecar's own, as an observer sees it, if there is one.
pub(super) async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let Some(observer) = inner.observer.clone() else { return answer(inner, request).await };
    let mut request = request.map(Body::new);
    let peer = Peer::of(request.extensions());
    let observed = observer.begin(&mut request, &peer);
    let mut response = answer(inner, request.map(axum::body::Body::new)).await.map(Body::new);
    watched(&mut response, observed);
    response.into_response()
}

/// `/rpc`, methods, and services that speak HTTP.
async fn answer(inner: Arc<Inner>, request: Request) -> Response {
    if !is_grpc(request.headers()) {
        let (path, asks) = (request.uri().path().to_owned(), may_call(&request));
        if let Some((upstream, method)) = called(&inner, &path, asks).await {
            return call(inner, &upstream, method, request).await;
        }
    }
    match inner.gateway.clone().oneshot(request).await {
        Ok(response) => response.into_response(),
        Err(never) => match never {},
    }
}

/// Whether a request looks like a call: a POST of JSON, or a WebSocket.
fn may_call(request: &Request) -> bool {
    let json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
    let posts_json =
        request.method() == Method::POST && request.headers().get(header::CONTENT_TYPE).is_none_or(json);
    posts_json || request.headers().contains_key(header::UPGRADE)
}

/// The service and method that `path` calls, if it calls one: by what the service's record says or, where that says nothing
/// and the request looks like a call, by what the service itself says.
async fn called(inner: &Inner, path: &str, looks_like_a_call: bool) -> Option<(Arc<Upstream>, String)> {
    let (upstream, method, known) = inner.gateway.method(path).await?;
    let is_called = match known {
        Some(known) => known,
        None => looks_like_a_call && says(inner, upstream.name(), &method).await,
    };
    is_called.then_some((upstream, method))
}

/// Whether `service` speaks gRPC, by its own word. One that says nothing is not asked again for a while.
async fn says(inner: &Inner, service: &str, method: &str) -> bool {
    let silent = || inner.silent.lock().unwrap_or_else(PoisonError::into_inner);
    if silent().get(service).is_some_and(|since| since.elapsed() < SILENT_FOR) {
        return false;
    }
    let target = Target::Service(service.to_owned());
    let asked = inner.caller.method(&target, None, method);
    match timeout(SAY_WITHIN, asked).await {
        Ok(Ok(_) | Err(schema::Error::NoMethod { .. } | schema::Error::Ambiguous { .. })) => true,
        Ok(Err(_)) | Err(_) => {
            let mut silent = silent();
            silent.retain(|_, since| since.elapsed() < SILENT_FOR);
            silent.insert(service.to_owned(), Instant::now());
            false
        }
    }
}

async fn call(inner: Arc<Inner>, upstream: &Upstream, method: String, request: Request) -> Response {
    if !request.headers().contains_key(header::UPGRADE) {
        let request = request.map(Body::new);
        return inner.gateway.call_method(upstream, &method, request).await.into_response();
    }
    let Ok(permit) = inner.open.clone().try_acquire_owned() else {
        let detail = "there are too many WebSockets";
        return Fault::new(ID, StatusCode::SERVICE_UNAVAILABLE, detail).response().into_response();
    };
    let (mut parts, _) = request.into_parts();
    let service = upstream.name().to_string();
    let mut extensions = Extensions::new();
    let active = upstream.meter().begin(&method, &parts.headers, &mut extensions);
    let mut asked = Call::new(Target::Service(service), &method).headers(metadata(&parts.headers));
    if let Some(sent_to) = extensions.remove() {
        asked = asked.sent_to(sent_to);
    }
    match parts.extract::<WebSocketUpgrade>().await {
        Ok(upgrade) => upgrade.max_message_size(MOST_BYTES).on_upgrade(move |socket| async move {
            let _permit = permit;
            converse(&inner, asked, &method, active, socket).await;
        }),
        Err(wrong) => wrong.into_response(),
    }
}

/// One call over a WebSocket: a message each way is one of the call's. An empty one ends what the caller has to say. At the
/// end the close code is 1000, or 4000 and the code of gRPC.
async fn converse(inner: &Inner, call: Call, method: &str, mut active: Active, socket: WebSocket) {
    let (mut out, incoming) = socket.split();
    let (documents, said) = mpsc::channel(WAITING);
    let (ping, mut pinged) = mpsc::channel(1);
    let talking = async {
        let found = inner.caller.method(call.target(), None, method).await.map_err(Error::from)?;
        let said = stream::unfold(said, |mut said| async move { said.recv().await.map(|one| (one, said)) });
        // Who takes one message need not be told that there is no other.
        let most = if found.is_client_streaming() { usize::MAX } else { 1 };
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut call = pin!(inner.caller.call(call, Documents::new(said.take(most))));
        let mut answers = None;
        loop {
            let next = async {
                let answers = match &mut answers {
                    Some(answers) => answers,
                    none => none.insert(call.as_mut().await?),
                };
                answers.next().await.transpose()
            };
            let message = tokio::select! {
                answer = next => match answer? {
                    Some(answer) => {
                        Message::text(answer.json(&Json::new()).map_err(|error| Error::Output(error.into()))?)
                    }
                    None => return Ok(()),
                },
                _ = pings.tick() => Message::Ping(Bytes::new()),
                Some(()) = pinged.recv() => match taken(&mut out).await {
                    Some(()) => continue,
                    None => return Ok(()),
                },
            };
            if write(&mut out, message).await.is_none() {
                return Ok::<_, Error>(());
            }
        }
    };
    let frame = tokio::select! {
        done = talking => {
            active.over(done.as_ref().err().map_or(Code::Ok, Error::code));
            match done {
                Ok(()) => CloseFrame { code: close_code::NORMAL, reason: "".into() },
                Err(error) => CloseFrame { code: 4000 + error.code() as u16, reason: short(error.to_string()).into() },
            }
        },
        // Whoever closes the socket gives the call up.
        () = listen(incoming, documents, ping) => return,
        () = inner.stop.cancelled() => CloseFrame { code: close_code::AWAY, reason: "the sidecar stops".into() },
    };
    write(&mut out, Message::Close(Some(frame))).await;
}

/// Hands on what a caller says, and that there was a ping. Ends when the socket does, or nothing comes any more, not even the answer to a ping.
async fn listen<E>(
    mut incoming: impl Stream<Item = Result<Message, E>> + Unpin,
    documents: mpsc::Sender<Result<Bytes, BoxError>>,
    ping: mpsc::Sender<()>,
) {
    let mut documents = Some(documents);
    while let Ok(Some(Ok(message))) = timeout(SILENCE, incoming.next()).await {
        let body = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(body) => body,
            Message::Close(_) => return,
            Message::Ping(_) => match ping.send(()).await {
                Ok(()) => continue,
                Err(_) => return,
            },
            Message::Pong(_) => continue,
        };
        if body.is_empty() {
            documents = None;
        } else if let Some(sender) = &documents
            && sender.send(Ok(body)).await.is_err()
        {
            documents = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_gone_without_a_word_holds_its_place_for_no_longer_than_others() {
        let (documents, _said) = mpsc::channel(1);
        let began = Instant::now();
        let (ping, _pinged) = mpsc::channel(1);
        listen(stream::pending::<Result<Message, Infallible>>(), documents, ping).await;
        assert!(began.elapsed() < Duration::from_secs(80), "{:?}", began.elapsed());
    }
}
