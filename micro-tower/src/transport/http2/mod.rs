//! One HTTP/2 connection and the requests on it.
//!
//! This speaks to [`h2`] itself. The sender of hyper's client would cost a channel, a second task and a boxed
//! future for each request; here the task that makes a request writes it, and reads its response.

mod driver;
mod in_flight;
mod incoming;
mod slot;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::{
    Reason,
    client::{Builder, SendRequest},
};
use micro_balance::BrokenBody;
use tower::BoxError;

use super::{calls::Calls, connect::Connector, io::Io, keepalive::Keepalive, target::Name};
use crate::{
    error::{Error, Phase},
    pipe::Progress,
};

pub(super) use driver::Driver;
pub(super) use in_flight::InFlight;
pub(super) use incoming::Incoming;
use slot::Slot;

/// What [`h2`] says of the peer's stream limit until the peer has spoken; no SETTINGS frame can say it.
const UNKNOWN: usize = usize::MAX - 1;

/// A connection that takes requests.
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    /// What goes beside the streams.
    calls: Option<Calls>,
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    gone: OnceLock<&'static str>,
    progress: Arc<Progress>,
    reads: Arc<AtomicUsize>,
    doubt: Doubt,
    name: Name,
}

/// An answer that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what it said is not valid HTTP/2")]
struct Invalid(#[source] h2::Error);

/// Whether somebody gave a request up to which the peer had not said a word.
#[derive(Default)]
struct Doubt {
    raised: AtomicBool,
    driver: AtomicWaker,
}

impl Http2 {
    /// Returns once the peer has spoken: one that accepts connections and says nothing is not connected to. `full` is
    /// called where it says that it takes no request: one that goes on to say so is not connected to either.
    pub(super) async fn handshake(
        mut io: Io,
        settings: &Connector,
        ping_interval: Option<Duration>,
        name: Name,
        full: impl FnMut() + Send,
    ) -> Result<(Arc<Self>, Driver), BoxError> {
        let greeting = io.greeting();
        Self::begin(io, settings, ping_interval, name, full).await.map_err(|error| greeting.blame(error))
    }

    async fn begin(
        mut io: Io,
        settings: &Connector,
        ping_interval: Option<Duration>,
        name: Name,
        mut full: impl FnMut() + Send,
    ) -> Result<(Arc<Self>, Driver), h2::Error> {
        let (reads, progress) = (io.reads(), io.progress());
        let calls = io.calls(settings.max_header_bytes as usize);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(UNKNOWN)
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .max_header_list_size(settings.max_header_bytes);
        let (sender, mut connection) = builder.handshake(io).await?;
        let keepalive = ping_interval.zip(connection.ping_pong()).map(|(interval, ping)| {
            let (timeout, patience) = (settings.ping_timeout, settings.connect_timeout);
            Keepalive::new(ping, interval, timeout, patience, reads.clone())
        });
        let limit = poll_fn(|cx| {
            if let Poll::Ready(closed) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Err(closed.err().unwrap_or(Reason::NO_ERROR.into())));
            }
            match connection.max_concurrent_send_streams() {
                UNKNOWN => Poll::Pending,
                0 => {
                    full();
                    Poll::Pending
                }
                limit => Poll::Ready(Ok(limit)),
            }
        })
        .await?;
        let http2 = Arc::new(Self {
            sender,
            calls,
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            gone: OnceLock::new(),
            progress,
            reads: reads.clone(),
            doubt: Doubt::default(),
            name,
        });
        let driver = Driver::new(connection, keepalive, &http2, reads);
        Ok((http2, driver))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// How many requests the peer takes at a time.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// A place for one more request, as long as the peer takes it at once.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Slot> {
        if self.in_flight() >= self.limit() {
            return None;
        }
        let slot = self.queue();
        self.is_within_limit().then_some(slot)
    }

    fn is_within_limit(&self) -> bool {
        self.in_flight() <= self.limit()
    }

    /// Whether the peer takes no request at present, however long one waits for another's end.
    pub(super) fn is_closed_for_now(&self) -> bool {
        self.limit() == 0
    }

    /// A place for one more request, which may have to wait for the end of another.
    pub(super) fn queue(self: &Arc<Self>) -> Slot {
        Slot::taken(self.clone())
    }

    /// Has the driver ask the peer whether it is still there.
    fn doubt(&self) {
        if !self.doubt.raised.swap(true, Relaxed) {
            self.doubt.driver.wake();
        }
    }

    /// Why no further request can be sent, if none can.
    fn refusal(&self) -> Option<h2::Error> {
        match self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }

    /// Why a request failed whose first byte was written after `mark`.
    fn failed(&self, mark: u64, phase: Phase, error: h2::Error) -> BoxError {
        // A peer says of the streams above the last one in its GOAWAY, and of refused ones, that it did
        // nothing about them.
        let refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
        let how: fn(Phase, BoxError) -> Error = match refused && error.is_remote() {
            _ if self.progress.is_lost(mark) => Error::not_sent,
            true => Error::refused,
            false => Error::new,
        };
        if error.is_library() && !error.is_io() {
            // To ask whether the peer has stopped would lead astray.
            return self.name.blame(how(phase, Invalid(error).into()).without_hint()).into();
        }
        let source: BoxError = match self.gone.get() {
            // Streams are reset on this side where the body of the request fails, and for nothing else.
            _ if error.is_reset() && !error.is_remote() => BrokenBody::new(error).into(),
            Some(why) if error.is_io() => (*why).into(),
            _ => error.into(),
        };
        self.name.blame(how(phase, source)).into()
    }
}
