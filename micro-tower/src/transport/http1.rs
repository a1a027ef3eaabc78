//! The HTTP/1 connections of one endpoint, one request at a time on each.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::client::conn::{
    TrySendError,
    http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use micro_balance::{Clock, Unsent};
use tokio::sync::OwnedSemaphorePermit;
use tower::BoxError;

use super::{
    connect::{Connector, HttpVersion},
    io::Io,
    rate::Rate,
    request::RequestBody,
    room::Room,
    target::Target,
};
use crate::error::{Error, Phase};

/// Idle connections, and permission to open more.
pub(super) struct Http1<B> {
    settings: Arc<Connector>,
    target: Arc<Target>,
    /// Whether the endpoint speaks HTTP/1, and could be reached when it was last tried.
    open: AtomicBool,
    idle: Mutex<Pool<B>>,
    /// Counts what `since` and `swept` are.
    clock: Clock,
    room: Room,
}

/// Connections that are not in use, the one used last at the end.
struct Pool<B> {
    idle: Vec<Idle<B>>,
    /// When those that are no use any more were last looked for: a request looks at no more than it takes.
    swept: Duration,
}

const SWEEP_EACH: Duration = Duration::from_secs(1);

/// A connection whose last response has been handed out; it is ready again once that was read.
struct Idle<B> {
    sender: SendRequest<B>,
    since: Duration,
}

impl<B> Idle<B> {
    /// For how long it has been idle; not at all where it came back after somebody looked at the clock, and before he had the
    /// pool.
    fn idle_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }
}

impl<B: RequestBody> Http1<B> {
    pub(super) fn new(settings: Arc<Connector>, target: Arc<Target>) -> Self {
        Self {
            open: AtomicBool::new(false),
            idle: Mutex::new(Pool { idle: Vec::new(), swept: Duration::ZERO }),
            clock: Clock::new(),
            room: Room::new(settings.http1_max_connections),
            settings,
            target,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Notes whether it could be reached.
    pub(super) fn reached(&self, reached: bool) {
        self.open.store(reached, Relaxed);
    }

    /// Starts to speak HTTP/1 on `io`, in a task of its own.
    pub(super) async fn handshake(io: Io, settings: &Connector) -> Result<SendRequest<B>, hyper::Error> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size((settings.max_header_bytes as usize).max(8 << 10));
        let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an HTTP/1 connection was closed");
            }
        });
        // One that its task has not looked at yet is taken by no request: the next would open another.
        sender.ready().await?;
        Ok(sender)
    }

    pub(super) fn put(&self, sender: SendRequest<B>) {
        let now = self.clock.elapsed();
        let mut pool = self.pool();
        if now.saturating_sub(pool.swept) >= SWEEP_EACH || pool.idle.len() >= self.settings.http1_max_idle {
            pool.swept = now;
            pool.idle.retain(|other| self.is_of_use(other, now));
        }
        if !sender.is_closed() && self.settings.http1_max_idle > 0 {
            if pool.idle.len() >= self.settings.http1_max_idle {
                pool.idle.remove(0);
            }
            pool.idle.push(Idle { sender, since: now });
        }
    }

    /// The connection used last, of those that are ready.
    fn take(&self) -> Option<SendRequest<B>> {
        let now = self.clock.elapsed();
        let mut pool = self.pool();
        let ready = |other: &Idle<B>| other.sender.is_ready() && self.is_of_use(other, now);
        let at = pool.idle.iter().rposition(ready)?;
        Some(pool.idle.remove(at).sender)
    }

    fn is_of_use(&self, idle: &Idle<B>, now: Duration) -> bool {
        !idle.sender.is_closed() && idle.idle_for(now) < self.settings.http1_idle_timeout
    }

    fn pool(&self) -> MutexGuard<'_, Pool<B>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `request` on an idle connection, or else on a new one.
    ///
    /// Where one is idle the request is on its way when this returns. Where a new one cannot be had the error hands the
    /// request back, and this is not open any more.
    pub(super) fn send(
        self: Arc<Self>,
        mut request: Request<B>,
    ) -> BoxFuture<'static, Result<Response<Incoming>, BoxError>> {
        let rate = request.extensions().get::<Rate>();
        let rate = rate.filter(|rate| !rate.is_over() && !request.body().is_end_stream()).cloned();
        self.target.direct(&mut request);
        let free = if rate.is_none() { self.room.free() } else { None };
        let Some(permit) = free else {
            return Box::pin(async move {
                let permit = self.room.place(rate).await?;
                self.send_by(permit, request).await
            });
        };
        let Some(mut sender) = self.take() else { return Box::pin(self.send_by(permit, request)) };
        // Mostly there are both: then what waits for the answer is small, and the request is not moved around with it.
        let answer = sender.try_send_request(request);
        Box::pin(async move {
            let failed = match answer.await {
                Ok(response) => return Ok(self.lend(sender, permit, response)),
                Err(failed) => failed,
            };
            let request = unsent(failed, true, &self.target)?;
            Box::pin(self.send_by(permit, request)).await
        })
    }

    /// The same for one that has its place.
    async fn send_by(
        self: Arc<Self>,
        permit: OwnedSemaphorePermit,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, BoxError> {
        loop {
            let idle = self.take();
            let reused = idle.is_some();
            let mut sender = match idle {
                Some(sender) => sender,
                // In a box of its own: it is made seldom, and takes more room than all else here.
                None => match Box::pin(open(&self.settings, &self.target)).await {
                    Ok(sender) => sender,
                    Err(error) => {
                        self.reached(false);
                        let error = self.target.name().blame(Error::not_sent(Phase::Connect, error));
                        return Err(Unsent::new(request, error).into());
                    }
                },
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.lend(sender, permit, response)),
                Err(failed) => request = unsent(failed, reused, &self.target)?,
            }
        }
    }

    /// Leaves the connection to the body of its answer.
    fn lend(
        self: Arc<Self>,
        sender: SendRequest<B>,
        permit: OwnedSemaphorePermit,
        response: Response<hyper::body::Incoming>,
    ) -> Response<Incoming> {
        let lent = |body| Lent { body, pool: self, sender: Some(sender), _permit: permit };
        response.map(|body| Incoming(Box::new(lent(body))))
    }
}

/// The request that nobody took, where it may be sent once more: on a connection that was `reused`, which its peer closed
/// just now. There may be another; in the end a new one.
fn unsent<B: RequestBody>(
    mut failed: TrySendError<Request<B>>,
    reused: bool,
    target: &Target,
) -> Result<Request<B>, BoxError> {
    match failed.take_message() {
        Some(again) if reused => Ok(again),
        Some(back) => {
            let error = target.name().blame(Error::not_sent(Phase::Send, failed.into_error()));
            Err(Unsent::new(back, error).into())
        }
        None => Err(target.name().blame(unanswered(failed.into_error())).into()),
    }
}

/// An answer that cannot be read: to ask whether the peer has stopped would lead astray.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the head of its answer is too long, or has more than 100 headers")]
    TooLong(#[source] hyper::Error),
    #[error("what it said is not valid HTTP/1.1")]
    Invalid(#[source] hyper::Error),
}

fn unanswered(error: hyper::Error) -> Error {
    let unreadable = match error {
        error if error.is_parse_too_large() => Unreadable::TooLong(error),
        error if error.is_parse() => Unreadable::Invalid(error),
        error => return Error::new(Phase::Wait, error),
    };
    Error::new(Phase::Wait, unreadable).without_hint()
}

async fn open<B: RequestBody>(settings: &Connector, target: &Target) -> Result<SendRequest<B>, BoxError> {
    let connecting = async {
        let (io, version) = settings.dial(target).await?;
        if version == HttpVersion::Http2 {
            return Err("the peer has changed from HTTP/1 to HTTP/2".into());
        }
        Ok(Http1::handshake(io, settings).await?)
    };
    tokio::time::timeout(settings.connect_timeout, connecting).await?
}

/// The body of a response, and the connection it comes from.
pub(super) struct Incoming(Box<dyn Borrowed>);

/// A body with the connection that it was lent, which it gives back when it has ended or is not wanted, and is dropped.
trait Borrowed: Send + Sync {
    fn body(&self) -> &hyper::body::Incoming;
    fn body_mut(&mut self) -> &mut hyper::body::Incoming;
}

struct Lent<B: RequestBody> {
    body: hyper::body::Incoming,
    pool: Arc<Http1<B>>,
    sender: Option<SendRequest<B>>,
    _permit: OwnedSemaphorePermit,
}

impl<B: RequestBody> Borrowed for Lent<B> {
    fn body(&self) -> &hyper::body::Incoming {
        &self.body
    }

    fn body_mut(&mut self) -> &mut hyper::body::Incoming {
        &mut self.body
    }
}

impl<B: RequestBody> Drop for Lent<B> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.put(sender);
        }
    }
}

impl Incoming {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let failed = |error| Error::new(Phase::Read, error).into();
        Pin::new(self.0.body_mut()).poll_frame(cx).map(|frame| Some(frame?.map_err(failed)))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.0.body().is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.0.body().size_hint()
    }

    pub(super) fn finish(self) {
        drop(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_may_come_back_after_somebody_has_looked_at_the_clock() {
        let (io, _far) = tokio::io::duplex(64);
        let (sender, _connection) = http1::handshake::<_, String>(TokioIo::new(io)).await.unwrap();
        let idle = Idle { sender, since: Duration::from_secs(2) };
        assert_eq!(idle.idle_for(Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(idle.idle_for(Duration::from_secs(5)), Duration::from_secs(3));
    }
}
