//! Listens for events and answers each when it has been settled.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use micro_discover::Announcement;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::BoxError;

use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;
use crate::http::{BACKEND, wire};
use crate::settle::Settle;
use crate::subscription::Incoming;

/// The largest body taken.
const MAX_BODY: usize = 64 << 20;
/// How long a publisher may take to say what it wants, and may pause while it says it.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// How long what was begun may take once the broker is closed.
const GRACE: Duration = Duration::from_secs(10);

/// A listener, and the subscriptions events are posted to.
#[derive(Debug)]
pub(super) struct Receiver {
    port: u16,
    open: Mutex<HashMap<String, mpsc::Sender<Incoming>>>,
    /// Those who are announced, and those who are leaving.
    announced: Mutex<JoinSet<()>>,
    closed: watch::Sender<bool>,
}

impl Receiver {
    pub(super) async fn listen(address: SocketAddr) -> std::io::Result<Arc<Self>> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        let (closed, ended) = watch::channel(false);
        let this = Arc::new(Self { port, open: Mutex::default(), announced: Mutex::default(), closed });
        tokio::spawn(accept(listener, Arc::downgrade(&this), ended));
        Ok(this)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Events for a subscription's id, until the stream is dropped.
    pub(super) fn open(self: &Arc<Self>, id: &str, in_flight: usize) -> Arrivals {
        let (sender, events) = mpsc::channel(in_flight);
        self.subscriptions().insert(id.to_owned(), sender);
        Arrivals { receiver: self.clone(), id: id.to_owned(), events }
    }

    /// Holds `announcement` until what is returned is dropped or the broker is closed, and then withdraws it.
    pub(super) fn keep(&self, announcement: Announcement) -> oneshot::Sender<()> {
        let (stay, left) = oneshot::channel();
        let mut closed = self.closed.subscribe();
        let mut announced = self.announced.lock().expect("no user code runs under this lock");
        while announced.try_join_next().is_some() {}
        announced.spawn(async move {
            tokio::select! {
                _ = left => {}
                _ = closed.wait_for(|closed| *closed) => {}
            }
            // A registry that is away forgets it by itself.
            announcement.withdraw().await.ok();
        });
        stay
    }

    /// Resolves once nobody is announced here any more.
    pub(super) async fn close(&self) {
        self.subscriptions().clear();
        self.closed.send_replace(true);
        let leaving = std::mem::take(&mut *self.announced.lock().expect("no user code runs under this lock"));
        leaving.join_all().await;
    }

    fn subscriptions(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Incoming>>> {
        self.open.lock().expect("no user code runs under this lock")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "events are posted");
        }
        let id =
            request.uri().query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("id="));
        let Some(subscription) = id.and_then(|id| self.subscriptions().get(id).cloned()) else {
            return refuse(StatusCode::NOT_FOUND, "no subscription has this id");
        };
        let (parts, body) = request.into_parts();
        let event = match whole(body).await.and_then(|body| wire::read(parts, body)) {
            Ok(event) => event,
            Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        };
        let (settled, outcome) = oneshot::channel();
        let held = Arc::new(Held { settled: Mutex::new(Some(settled)) });
        if subscription.send((event, held)).await.is_err() {
            return refuse(StatusCode::NOT_FOUND, "the subscription has ended");
        }
        // An event handed back without a word comes again at once.
        match outcome.await.unwrap_or(Err(Duration::ZERO)) {
            Ok(()) => Response::default(),
            Err(after) => {
                let mut again = refuse(StatusCode::SERVICE_UNAVAILABLE, "not handled");
                again.headers_mut().insert(wire::AGAIN, wire::again_header(after));
                again
            }
        }
    }
}

/// All of a body.
///
/// # Errors
///
/// It breaks off, or pauses for too long, or is too long.
async fn whole(body: Body) -> Result<Bytes, BoxError> {
    let (mut body, mut chunks) = (Limited::new(body, MAX_BODY), Vec::new());
    let late = |_| format!("nothing of the body came within {SILENCE:?}");
    while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(late)? {
        chunks.extend(frame?.into_data());
    }
    // Most often there is one, which need not be copied.
    Ok(if chunks.len() == 1 { chunks.remove(0) } else { chunks.concat().into() })
}

/// go-micro's error body.
fn refuse(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let error = serde_json::json!({"id": "go.micro.broker", "code": status.as_u16(), "detail": detail, "status":
        status.canonical_reason().unwrap_or_default()});
    let mut response = Response::new(Full::new(error.to_string().into()));
    *response.status_mut() = status;
    response
}

async fn accept(
    listener: TcpListener,
    receiver: std::sync::Weak<Receiver>,
    mut ended: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => accepted,
            Some(_) = connections.join_next() => continue,
            // Closed, or nobody holds the receiver any more.
            _ = ended.wait_for(|closed| *closed) => break,
        };
        let Ok((stream, _)) = stream else {
            // Out of file descriptors, most likely: others must end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let receiver = receiver.clone();
        let service = service_fn(move |request| {
            let receiver = receiver.upgrade();
            async move {
                Ok::<_, Infallible>(match receiver {
                    Some(receiver) => receiver.answer(request).await,
                    None => refuse(StatusCode::NOT_FOUND, "the broker is closed"),
                })
            }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(SILENCE);
        connections.spawn(server.serve_connection(TokioIo::new(stream), service));
    }
    drop(listener);
    // Whoever is not done by then is cut off.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

/// The events of one subscription.
#[derive(Debug)]
pub(super) struct Arrivals {
    receiver: Arc<Receiver>,
    id: String,
    events: mpsc::Receiver<Incoming>,
}

impl Stream for Arrivals {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        // What has not been yielded is dropped with the channel, and so answered as not handled.
        self.receiver.subscriptions().remove(&self.id);
    }
}

/// An event in hand, whose sender waits for the answer.
#[derive(Debug)]
struct Held {
    settled: Mutex<Option<oneshot::Sender<Result<(), Duration>>>>,
}

impl Held {
    fn tell(&self, outcome: Result<(), Duration>) -> Confirm {
        let settled = self.settled.lock().expect("no user code runs under this lock").take();
        let told = settled.is_some_and(|settled| settled.send(outcome).is_ok());
        let gone =
            || Error::Unavailable { backend: BACKEND, source: "the publisher has stopped waiting".into() };
        Confirm::known(if told { Ok(()) } else { Err(gone()) })
    }
}

impl Settle for Held {
    fn ack(&self) -> Confirm {
        self.tell(Ok(()))
    }

    fn nack(&self, _: Event, after: Duration) -> Confirm {
        self.tell(Err(after))
    }

    fn release(&self, _: Event) {
        drop(self.tell(Err(Duration::ZERO)));
    }
}
