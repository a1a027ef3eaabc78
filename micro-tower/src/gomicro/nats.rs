//! go-micro's messages as it sends them over NATS: JSON, from one inbox to another.

use std::{collections::BTreeMap, collections::HashMap, io, sync::Arc, time::Duration};

use async_nats::{Client, Subject, Subscriber};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
        watch,
    },
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::{
    LONGEST, Message,
    http1::canonical,
    message::text,
    session::{Session, Sink, Source, told},
};

/// How long a peer without a call is remembered: it has no way to say that it is gone.
const IDLE: Duration = Duration::from_secs(60);
/// How many messages of one peer wait; a peer that sends more is forgotten.
const WAITING: usize = 256;
/// How many peers there are at a time.
const MOST_PEERS: usize = 10_000;
/// With so many, who has been without a call for longest is forgotten for each that comes: a peer may have an inbox of its
/// own for every call.
const CROWDED: usize = MOST_PEERS / 10 * 9;

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(rename = "Header", default)]
    header: Option<BTreeMap<String, String>>,
    #[serde(rename = "Body", default)]
    body: Option<String>,
}

/// A message as go-micro writes it.
pub(crate) fn encode(message: &Message) -> Vec<u8> {
    let mut header = BTreeMap::new();
    for (name, value) in &message.headers {
        // One value each; and there is no HTTP here to rewrite the name of this one.
        let name = canonical(name.as_str()).replace("Micro-Id", "Micro-ID");
        header.entry(name).or_insert_with(|| text(value).unwrap_or_default().to_owned());
    }
    let body = (!message.body.is_empty()).then(|| STANDARD.encode(&message.body));
    let written = Written { header: Some(header), body };
    serde_json::to_vec(&written).expect("text is always JSON")
}

/// Reads a message; what cannot be a header is left out.
pub(crate) fn decode(bytes: &[u8]) -> Option<Message> {
    let Written { header, body } = serde_json::from_slice(bytes).ok()?;
    let body = STANDARD.decode(body.unwrap_or_default()).ok().filter(|body| body.len() <= LONGEST)?;
    let mut headers = HeaderMap::new();
    for (name, value) in header.unwrap_or_default() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.insert(name, value);
        }
    }
    Some(Message { headers, body: body.into() })
}

/// Serves what comes to `inbox` until `closing` becomes true and what was begun has ended.
pub(crate) async fn serve<S, B>(
    client: Client,
    mut inbox: Subscriber,
    service: S,
    mut closing: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut peers: HashMap<String, mpsc::Sender<Message>> = HashMap::new();
    let crowded = Arc::new(Notify::new());
    let mut sessions = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = inbox.next() => next,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                match ended {
                    Ok(reply) if peers.get(&reply).is_some_and(mpsc::Sender::is_closed) => {
                        peers.remove(&reply);
                    }
                    Ok(_) => {}
                    // A handler that panicked takes its session along, which cannot say whose it was.
                    Err(_) => peers.retain(|_, peer| !peer.is_closed()),
                }
                continue;
            }
            () = told(&mut closing) => None,
        };
        let Some(received) = next else { break };
        let (Some(reply), Some(message)) = (received.reply, decode(&received.payload)) else { continue };
        let reply = reply.to_string();
        let sent = match peers.get(&reply) {
            Some(peer) => peer.try_send(message),
            None => Err(TrySendError::Closed(message)),
        };
        let message = match sent {
            Ok(()) => continue,
            Err(TrySendError::Full(_)) => {
                tracing::warn!(%reply, "a peer sends faster than it is answered, and is forgotten");
                peers.remove(&reply);
                continue;
            }
            // There was none yet, or its session has just ended: this is the first message of the next.
            Err(TrySendError::Closed(message)) => message,
        };
        if peers.len() >= CROWDED {
            crowded.notify_one();
        }
        if peers.len() >= MOST_PEERS {
            tracing::warn!("too many peers at a time: one is not answered");
            continue;
        }
        let (feed, fed) = mpsc::channel(WAITING);
        // There is room for the first.
        let _ = feed.try_send(message);
        peers.insert(reply.clone(), feed);
        let (service, client, closing) = (service.clone(), client.clone(), closing.clone());
        let mut source = Peer { fed, crowded: crowded.clone() };
        sessions.spawn(async move {
            let mut sink = Reply { client, to: Subject::from(reply.as_str()) };
            let _ = Session::new(service).run(&mut source, &mut sink, closing).await;
            reply
        });
    }
    drop(peers);
    while sessions.join_next().await.is_some() {}
    // Where the server is gone there is nobody to tell.
    let _ = timeout(IDLE, client.flush()).await;
}

struct Peer {
    fed: mpsc::Receiver<Message>,
    /// Wakes who has waited longest.
    crowded: Arc<Notify>,
}

impl Source for Peer {
    async fn next(&mut self, idle: bool) -> io::Result<Option<Message>> {
        if !idle {
            return Ok(self.fed.recv().await);
        }
        tokio::select! {
            message = self.fed.recv() => return Ok(message),
            () = sleep(IDLE) => {}
            () = self.crowded.notified() => {}
        }
        // What came at this very moment is answered all the same; what comes next finds it gone, and begins anew.
        self.fed.close();
        Ok(self.fed.try_recv().ok())
    }

    fn is_last(&self) -> bool {
        // No more will come, but what has is answered.
        self.fed.is_closed() && self.fed.is_empty()
    }
}

struct Reply {
    client: Client,
    to: Subject,
}

impl Sink for Reply {
    async fn send(&mut self, mut message: Message) -> io::Result<()> {
        // Here answers do not repeat what was asked.
        const SAID: [&str; 6] =
            ["content-type", "micro-id", "micro-error", "x-micro-error", "micro-stream", "x-micro-id"];
        let gone: Vec<_> =
            message.headers.keys().filter(|name| !SAID.contains(&name.as_str())).cloned().collect();
        for name in gone {
            message.headers.remove(name);
        }
        if let Some(id) = message.headers.get("micro-id").cloned() {
            message.headers.insert("x-micro-id", id);
        }
        let sent = self.client.publish(self.to.clone(), encode(&message).into());
        timeout(IDLE, sent).await?.map_err(io::Error::other)
    }
}

/// A conversation with a server's inbox.
#[derive(Debug)]
pub(crate) struct Talk {
    client: Client,
    to: Subject,
    inbox: Subject,
    answers: Subscriber,
}

impl Talk {
    pub(crate) async fn open(client: Client, to: &str) -> Result<Self, BoxError> {
        let inbox = Subject::from(client.new_inbox());
        let answers = client.subscribe(inbox.clone()).await?;
        Ok(Self { client, to: Subject::from(to), inbox, answers })
    }

    pub(crate) async fn send(&self, message: &Message) -> io::Result<()> {
        let sent =
            self.client.publish_with_reply(self.to.clone(), self.inbox.clone(), encode(message).into());
        sent.await.map_err(io::Error::other)
    }

    /// `None` where the NATS server says that nobody listens, or is gone.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Message>> {
        let Some(answer) = self.answers.next().await else { return Ok(None) };
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens at its inbox"));
        }
        let message = decode(&answer.payload);
        message
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no message of go-micro's"))
    }

    /// Whether nothing was heard since the last answer.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.answers.next().now_or_never().is_none()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// R19 of go-micro: who calls over NATS and says no more is remembered for ever.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_silent_for_a_minute_between_calls_is_forgotten() {
        let (feed, fed) = mpsc::channel(1);
        let mut peer = Peer { fed, crowded: Arc::default() };
        // During a call it may be silent for longer: its deadline ends that.
        assert!(timeout(IDLE * 2, peer.next(false)).await.is_err());
        let began = Instant::now();
        assert!(peer.next(true).await.unwrap().is_none());
        assert_eq!(began.elapsed(), IDLE);
        drop(feed);
    }

    #[test]
    fn recorded_messages_are_written_as_they_were() {
        for written in [
            r#"{"Header":{"Accept":"application/json","Content-Type":"application/json","Micro-Endpoint":"Greeter.Hello","Micro-ID":"0","Micro-Method":"Greeter.Hello","Micro-Service":"greeter","Timeout":"5000000000"},"Body":"eyJuYW1lIjoiSm9obiJ9Cg=="}"#,
            r#"{"Header":{"Content-Type":"application/json","Micro-ID":"0","X-Micro-ID":"0"},"Body":"eyJncmVldGluZyI6IkhlbGxvIEpvaG4ifQo="}"#,
        ] {
            let message = decode(written.as_bytes()).unwrap();
            assert_eq!(message.micro("id"), Some("0"));
            assert_eq!(String::from_utf8(encode(&message)).unwrap(), written);
        }
        for other in ["", "{", "7", r#"{"Body":"!"}"#, r#"{"Header":[]}"#] {
            assert!(decode(other.as_bytes()).is_none(), "{other}");
        }
        let empty = decode(br#"{"Header":null,"Body":null}"#).unwrap();
        assert_eq!(encode(&empty), br#"{"Header":{},"Body":null}"#);
    }
}
