//! One HTTP/2 connection and the requests on it.
//!
//! This speaks to [`h2`] itself. The sender of hyper's client would cost a channel, a second task and a boxed
//! future for each request; here the task that makes a request writes it, and reads its response.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::{
    Reason, RecvStream,
    client::{Builder, SendRequest},
};
use http::{Request, Response, header};
use http_body::{Frame, SizeHint};
use micro_balance::Unsent;
use tower::BoxError;

use super::{
    calls::{Calls, Heard, Waiting},
    connect::Connector,
    io::Io,
    keepalive::Keepalive,
    request::RequestBody,
    target::{Name, Target, remove_hop_by_hop},
    upload::{Begun, Upload},
};
use crate::{
    error::{Error, Phase},
    pipe::{Progress, call::Whole},
};

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

/// Whether somebody gave a request up to which the peer had not said a word.
#[derive(Default)]
struct Doubt {
    raised: AtomicBool,
    driver: AtomicWaker,
}

impl Http2 {
    /// Returns once the peer has spoken: one that accepts connections and says nothing is not connected to.
    pub(super) async fn handshake(
        mut io: Io,
        settings: &Connector,
        ping_interval: Option<Duration>,
        name: Name,
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
        let driver =
            Driver { connection, keepalive, http2: Arc::downgrade(&http2), reads, reads_before: usize::MAX };
        Ok((http2, driver))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// A place for one more request, as long as the peer takes it at once.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Slot> {
        let slot = self.queue();
        self.is_within_limit().then_some(slot)
    }

    fn is_within_limit(&self) -> bool {
        self.in_flight() <= self.limit.load(Relaxed)
    }

    /// A place for one more request, which may have to wait for the end of another.
    pub(super) fn queue(self: &Arc<Self>) -> Slot {
        self.in_flight.fetch_add(1, Relaxed);
        Slot { http2: self.clone(), mark: self.progress.written(), reads: self.reads.load(Relaxed) }
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
        let not_sent = refused && error.is_remote() || self.progress.is_lost(mark);
        let source: BoxError = match self.gone.get() {
            Some(why) if error.is_io() => (*why).into(),
            _ => error.into(),
        };
        self.blame(not_sent, phase, source)
    }

    fn blame(&self, not_sent: bool, phase: Phase, source: impl Into<BoxError>) -> BoxError {
        let error = if not_sent { Error::not_sent(phase, source) } else { Error::new(phase, source) };
        self.name.blame(error).into()
    }
}

/// A request's place on a connection, counted until this is dropped.
pub(super) struct Slot {
    http2: Arc<Http2>,
    /// How much had been written when it was taken: the request's own bytes come after that.
    mark: u64,
    /// How often something had been read by then.
    reads: usize,
}

impl Slot {
    /// Sends `request`, or gives an error that hands it back.
    pub(super) fn send<B: RequestBody>(
        self,
        target: &Target,
        request: Request<B>,
    ) -> Result<InFlight, BoxError> {
        let mut sender = self.http2.sender.clone();
        let mut cx = Context::from_waker(Waker::noop());
        // A clone has no request waiting, so this tells one thing: whether the connection is open.
        if let Poll::Ready(Err(error)) = sender.poll_ready(&mut cx) {
            let error = self.http2.name.blame(Error::not_sent(Phase::Send, error));
            return Err(Unsent::new(request, error).into());
        }
        let (mut parts, body) = request.into_parts();
        let host = remove_hop_by_hop(&mut parts.headers);
        parts.uri = target.absolute(parts.uri, host);
        parts.version = http::Version::HTTP_2;
        let empty = body.is_end_stream();
        if let Some(length) = body.size_hint().exact().filter(|_| !empty) {
            parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        let begun = (!empty).then(|| Begun::new(body));
        if let Some(waiting) = self.send_aside(&parts, begun.as_ref()) {
            return Ok(InFlight { answer: Answer::Call(waiting), open: Some((self, Upload::default())) });
        }
        let (response, stream) = sender
            .send_request(Request::from_parts(parts, ()), empty)
            .map_err(|error| self.http2.name.blame(Error::not_sent(Phase::Send, error)))?;
        let failed = |error| self.http2.name.blame(Error::new(Phase::Send, error));
        let upload =
            begun.map_or_else(|| Ok(Upload::default()), |begun| begun.send(stream)).map_err(failed)?;
        Ok(InFlight { answer: Answer::Stream(response), open: Some((self, upload)) })
    }

    /// Sends a request beside the streams, if there is such a way and nothing more will come of its body.
    fn send_aside<B: RequestBody>(
        &self,
        parts: &http::request::Parts,
        begun: Option<&Begun<B>>,
    ) -> Option<Waiting> {
        let calls = self.http2.calls.as_ref().filter(|_| self.http2.is_within_limit())?;
        match begun {
            Some(begun) => calls.send(parts, Some(begun.whole()?)),
            None => calls.send(parts, None),
        }
    }

    /// Opens the stream of an answer that is one.
    fn fetch(&self, request: Request<()>) -> Result<h2::client::ResponseFuture, BoxError> {
        let fetched = self.http2.sender.clone().send_request(request, true);
        Ok(fetched.map_err(|error| self.failed(Phase::Wait, error))?.0)
    }

    /// Why a call that went beside the streams has no answer.
    fn unanswered(&self, heard: &Heard) -> BoxError {
        let (not_sent, why) = match heard {
            Heard::Refused => (true, "the server takes no more requests on this connection"),
            Heard::Over(why) => (self.http2.progress.is_lost(self.mark), *why),
            _ => (false, "the server broke the call off"),
        };
        self.http2.blame(not_sent, Phase::Wait, self.http2.gone.get().copied().unwrap_or(why))
    }

    fn failed(&self, phase: Phase, error: h2::Error) -> BoxError {
        self.http2.failed(self.mark, phase, error)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.http2.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A request that was sent. Dropping it resets the stream, or cancels the call.
pub(super) struct InFlight {
    answer: Answer,
    open: Option<(Slot, Upload)>,
}

enum Answer {
    Stream(h2::client::ResponseFuture),
    Call(Waiting),
}

impl InFlight {
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Option<Incoming>>, BoxError>> {
        if let Answer::Call(waiting) = &mut self.answer {
            let heard = ready!(Pin::new(waiting).poll(cx));
            let Some((slot, _)) = &self.open else { return Poll::Pending };
            match heard {
                Heard::Answer(response) => {
                    self.open = None;
                    return Poll::Ready(Ok(response.map(|whole| Some(Incoming::Whole(whole)))));
                }
                Heard::Fetch(request) => match slot.fetch(request) {
                    Ok(response) => self.answer = Answer::Stream(response),
                    Err(error) => {
                        self.open = None;
                        return Poll::Ready(Err(error));
                    }
                },
                heard => {
                    let error = slot.unanswered(&heard);
                    self.open = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
        let Answer::Stream(response) = &mut self.answer else { return Poll::Pending };
        let result = ready!(Pin::new(response).poll(cx));
        let Some((slot, mut upload)) = self.open.take() else { return Poll::Pending };
        Poll::Ready(match result {
            Err(error) => Err(slot.failed(Phase::Wait, error)),
            Ok(response) => {
                let length = content_length(&response);
                Ok(response.map(|stream| {
                    if stream.is_end_stream() {
                        upload.detach();
                        return None;
                    }
                    Some(Incoming::Stream(Streamed { stream, slot, upload, data: true, length }))
                }))
            }
        })
    }
}

/// How long the body says it is.
fn content_length<T>(response: &Response<T>) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // Whoever gives up may be in a hurry, or the peer may be gone: only the peer can tell.
        if let Some((slot, _)) = &self.open
            && slot.reads == slot.http2.reads.load(Relaxed)
        {
            slot.http2.doubt();
        }
    }
}

/// The body of a response. Dropping it before its end resets its stream.
pub(super) enum Incoming {
    Stream(Streamed),
    /// It came as one message, and its request is over.
    Whole(Whole),
}

impl Incoming {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Stream(streamed) => streamed.poll_frame(cx),
            Self::Whole(whole) => {
                let data = whole.data.take().map(Frame::data);
                Poll::Ready(data.or_else(|| whole.trailers.take().map(Frame::trailers)).map(Ok))
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(streamed) => streamed.stream.is_end_stream(),
            Self::Whole(whole) => whole.data.is_none() && whole.trailers.is_none(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let length = match self {
            Self::Stream(streamed) => streamed.length,
            Self::Whole(whole) => Some(whole.data.as_ref().map_or(0, |data| data.len() as u64)),
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The response is complete, or failed: the request may still be wanted.
    pub(super) fn finish(self) {
        if let Self::Stream(mut streamed) = self
            && streamed.stream.is_end_stream()
        {
            streamed.upload.detach();
        }
    }
}

/// A body that comes as the stream it is.
pub(super) struct Streamed {
    stream: RecvStream,
    slot: Slot,
    upload: Upload,
    data: bool,
    length: Option<u64>,
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let failed = |error| Err(self.slot.failed(Phase::Read, error));
        if self.data {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Whoever was handed the data has room for as much again. An error ends the stream, and
                    // is seen by the next poll.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // The peer needs no more of the request: RFC 9113, section 8.1.
                Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(failed(error))),
                None => self.data = false,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(Frame::trailers).map(Ok)),
            Err(error) => Poll::Ready(Some(failed(error))),
        }
    }
}

/// Does the reading and writing of a connection: to be run as a task.
pub(super) struct Driver {
    connection: h2::client::Connection<Io, Bytes>,
    keepalive: Option<Keepalive>,
    http2: Weak<Http2>,
    reads: Arc<AtomicUsize>,
    reads_before: usize,
}

impl Driver {
    /// Runs until the connection takes no further request, and says why where the peer gave a reason.
    pub(super) async fn open(&mut self) -> Option<Reason> {
        poll_fn(|cx| {
            let closed = self.poll_closed(cx);
            if self.keepalive.as_ref().is_some_and(Keepalive::is_silent) {
                return Poll::Ready(None);
            }
            let reads = self.reads.load(Relaxed);
            let quiet = std::mem::replace(&mut self.reads_before, reads) == reads;
            if closed.is_pending() && quiet {
                return Poll::Pending;
            }
            let Some(http2) = self.http2.upgrade() else { return Poll::Ready(None) };
            http2.limit.store(self.connection.max_concurrent_send_streams(), Relaxed);
            match http2.refusal() {
                Some(error) => Poll::Ready(error.reason()),
                None => closed.map(|()| None),
            }
        })
        .await
    }

    /// Runs until the last response has ended.
    pub(super) async fn drain(mut self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(result) = Pin::new(&mut self.connection).poll(cx) {
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP/2 connection was closed");
            }
            return Poll::Ready(());
        }
        let Some(keepalive) = &mut self.keepalive else { return Poll::Pending };
        let http2 = self.http2.upgrade();
        if let Some(http2) = &http2 {
            http2.doubt.driver.register(cx.waker());
            if http2.doubt.raised.swap(false, Relaxed) {
                keepalive.doubt(cx);
            }
        }
        ready!(keepalive.poll_gone(cx, http2.as_ref().is_some_and(|http2| http2.in_flight() > 0)));
        if let Some(http2) = http2 {
            let _ = http2.gone.set("the peer did not answer a keepalive PING");
        }
        Poll::Ready(())
    }
}
