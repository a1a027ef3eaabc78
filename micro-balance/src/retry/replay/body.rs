//! The request body of one attempt.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::shared::{Link, Shared, lock};

/// The body of one attempt: first what earlier attempts read, then the rest of the caller's.
///
/// Chunks are shared, never copied. Once the caller's body outgrows what may be kept, this attempt goes on
/// as if nothing were, and no other follows.
pub struct ReplayBody<B> {
    pub(super) shared: Link<B>,
    attempt: u32,
    next: usize,
    trailed: bool,
    /// How long it was said to be, as long as nothing of it was read and no other attempt was made: whoever sends it asks
    /// first, and need not lock.
    untouched: Option<SizeHint>,
}

/// Ends the body of an attempt that another has outrun or taken the place of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Abandoned(&'static str);

impl<B> ReplayBody<B> {
    /// The body from its start, for this attempt.
    pub(super) fn new(shared: Link<B>, attempt: u32) -> Self {
        Self { shared, attempt, next: 0, trailed: false, untouched: None }
    }

    /// The same of a body that has just been linked and has not ended; `hint` is what it says of its length.
    pub(super) fn said(mut self, hint: SizeHint) -> Self {
        self.untouched = self.shared.is_some().then_some(hint);
        self
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.untouched = None;
        let Some(shared) = &this.shared else { return Poll::Ready(None) };
        let shared = &mut *lock(shared);
        if let Some(reason) = shared.refuses(this.attempt, this.next) {
            return Poll::Ready(Some(Err(Abandoned(reason).into())));
        }
        if let Some(chunk) = shared.chunk(this.next) {
            this.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        let Some(source) = &mut shared.source else {
            let trailers = if this.trailed { None } else { shared.trailers.clone() };
            this.trailed = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let polled = Pin::new(source).poll_frame(cx);
        match &polled {
            Poll::Pending => {
                if !shared.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    shared.waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(frame))) => {
                shared.keep(frame);
                this.next = shared.count();
                this.trailed = frame.is_trailers();
            }
            Poll::Ready(Some(Err(_))) => {
                shared.forget();
                (shared.source, shared.failed) = (None, true);
            }
            Poll::Ready(None) => shared.source = None,
        }
        shared.waiting.drain(..).filter(|waker| !waker.will_wake(cx.waker())).for_each(Waker::wake);
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        if self.untouched.is_some() {
            return false;
        }
        let Some(shared) = &self.shared else { return true };
        let shared = lock(shared);
        shared.refuses(self.attempt, self.next).is_none()
            && self.next >= shared.count()
            && (self.trailed || shared.trailers.is_none())
            && shared.source.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(hint) = self.untouched {
            return hint;
        }
        let Some(shared) = &self.shared else { return SizeHint::with_exact(0) };
        let shared = lock(shared);
        let kept: usize = (self.next..shared.count()).filter_map(|n| shared.chunk(n)).map(Bytes::len).sum();
        let rest = shared.source.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept as u64));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept as u64));
        }
        hint
    }
}

/// A body that is sent once.
impl<B: Body<Data = Bytes> + Unpin> From<B> for ReplayBody<B> {
    fn from(body: B) -> Self {
        Self::new(Shared::link(body, 0), 0)
    }
}

/// An empty body.
impl<B> Default for ReplayBody<B> {
    fn default() -> Self {
        Self::new(None, 0)
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
