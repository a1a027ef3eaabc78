//! Request bodies that give way: where others wait for a connection, those that come too slowly end.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use micro_balance::BrokenBody;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tower::BoxError;

/// How many bytes a second are enough, and for how long fewer are: what Kestrel asks of clients,
/// <https://learn.microsoft.com/aspnet/core/fundamentals/servers/kestrel/options#minimum-request-body-data-rate>.
const ENOUGH: f64 = 240.0;
const GRACE: Duration = Duration::from_secs(5);

/// The body of a request that comes from a stranger, who may take his time over it.
///
/// Over HTTP/1 a request has a connection to itself. Requests with such bodies get seven eighths of an endpoint's, so that
/// there are always some for those that are whole. Where a request waits for one all the same, bodies that were waited for
/// for more than 5 s in all, and of which fewer than 240 bytes a second came, end in [`TooSlow`], the slowest first and no
/// more of them than requests wait. Where nobody waits a body may take as long as it likes.
///
/// Errors of the body become [`BrokenBody`], which is held against no endpoint.
pub struct Rated<B> {
    inner: B,
    rate: Rate,
}

/// The body of a request came too slowly, and others waited for its connection.
#[derive(Debug, thiserror::Error)]
#[error(
    "it came too slowly, fewer than {ENOUGH} bytes a second, while others waited for a connection to the service"
)]
pub struct TooSlow(());

impl<B> Rated<B> {
    /// Has the body of `request` give way. The request remembers that in its extensions.
    pub fn body_of(request: Request<B>) -> Request<Self> {
        let rate = Rate::new();
        let (mut parts, inner) = request.into_parts();
        parts.extensions.insert(rate.clone());
        Request::from_parts(parts, Self { inner, rate })
    }
}

impl<B> Body for Rated<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if self.rate.has_to_end(cx) {
            return Poll::Ready(Some(Err(BrokenBody::new(TooSlow(())))));
        }
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        match &frame {
            Poll::Pending => self.rate.waits(),
            Poll::Ready(Some(Ok(frame))) => self.rate.came(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(None | Some(Err(_))) => self.rate.over(),
        }
        if frame.is_ready() && self.inner.is_end_stream() {
            self.rate.over();
        }
        frame.map_err(BrokenBody::new)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Rated<B> {
    fn drop(&mut self) {
        self.rate.over();
    }
}

impl<B> fmt::Debug for Rated<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rated").finish_non_exhaustive()
    }
}

/// How fast a body comes. Clones share it.
#[derive(Clone)]
pub(super) struct Rate(Arc<Shared>);

struct Shared {
    began: Instant,
    bytes: AtomicU64,
    /// How long it was waited for until it last came, in milliseconds.
    waited: AtomicU64,
    /// Since when it is waited for, in milliseconds since the beginning and one more; 0 where it is not.
    since: AtomicU64,
    over: AtomicBool,
    has_to_end: AtomicBool,
    reader: AtomicWaker,
    /// Its place among those of its kind, until it is over.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Rate {
    fn new() -> Self {
        Self(Arc::new(Shared {
            began: Instant::now(),
            bytes: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            since: AtomicU64::new(0),
            over: AtomicBool::new(false),
            has_to_end: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            place: Mutex::default(),
        }))
    }

    /// Whether the body is over, or nobody's any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.over.load(Relaxed)
    }

    /// Gives its place back, if it has one.
    pub(super) fn leave(&self) {
        *self.place() = None;
    }

    /// Keeps `place` until the body is over.
    pub(super) fn keep(&self, place: OwnedSemaphorePermit) {
        let mut kept = self.place();
        if !self.is_over() {
            *kept = Some(place);
        }
    }

    /// Whether it has been told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.0.has_to_end.load(Relaxed)
    }

    /// Bytes a second, where they are too few and it is waited for more.
    pub(super) fn too_few(&self) -> Option<f64> {
        let since = self.0.since.load(Relaxed).checked_sub(1).filter(|_| !self.is_ending())?;
        let waits = self.now().saturating_sub(since);
        let waited = Duration::from_millis(self.0.waited.load(Relaxed) + waits);
        #[allow(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let rate = self.0.bytes.load(Relaxed) as f64 / waited.as_secs_f64();
        (waited > GRACE && rate < ENOUGH).then_some(rate)
    }

    /// Ends the body in an error.
    pub(super) fn end(&self) {
        self.0.has_to_end.store(true, Relaxed);
        self.0.reader.wake();
    }

    /// Whether it has to end; wakes the reader once it has.
    fn has_to_end(&self, cx: &Context<'_>) -> bool {
        self.0.reader.register(cx.waker());
        self.is_ending()
    }

    fn waits(&self) {
        if self.0.since.load(Relaxed) == 0 {
            self.0.since.store(self.now() + 1, Relaxed);
        }
    }

    fn came(&self, length: usize) {
        self.0.bytes.fetch_add(length as u64, Relaxed);
        let since = self.0.since.swap(0, Relaxed);
        if let Some(since) = since.checked_sub(1) {
            self.0.waited.fetch_add(self.now().saturating_sub(since), Relaxed);
        }
    }

    fn over(&self) {
        let mut kept = self.place();
        self.0.over.store(true, Relaxed);
        *kept = None;
        drop(kept);
        // It would hold the memory of a connection that has ended until those that are over are looked for.
        drop(self.0.reader.take());
    }

    fn place(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}
