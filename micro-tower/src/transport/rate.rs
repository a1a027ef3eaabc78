//! How fast the body of a request comes, and whether it has to end.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;
use tower::BoxError;

use super::share::{Client, Place, Shares};

/// How many bytes a second are enough, and for how long fewer are: what Kestrel asks of clients,
/// <https://learn.microsoft.com/aspnet/core/fundamentals/servers/kestrel/options#minimum-request-body-data-rate>.
const ENOUGH: f64 = 240.0;
const GRACE: Duration = Duration::from_secs(5);

/// The body of a request came too slowly, and others waited for its connection.
#[derive(Debug, thiserror::Error)]
#[error(
    "the body came too slowly, fewer than {ENOUGH} bytes a second, while others waited for a connection to the service"
)]
pub struct TooSlow(());

/// The client of a request had more than its share of the connections or streams to a service, and others waited for one.
#[derive(Debug, thiserror::Error)]
#[error("this client had more than its share of what long bodies may have of the service, and others waited")]
pub struct OverShare(());

/// Why a body has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    TooSlow,
    OverShare,
}

impl Why {
    pub(super) fn error(self) -> BoxError {
        match self {
            Self::TooSlow => TooSlow(()).into(),
            Self::OverShare => OverShare(()).into(),
        }
    }
}

/// How fast a [`Rated`](super::Rated) body comes. Clones share it.
#[derive(Clone)]
pub struct Rate(Arc<Shared>);

struct Shared {
    client: Client,
    began: Instant,
    bytes: AtomicU64,
    /// How long it was waited for until it last came, in milliseconds.
    waited: AtomicU64,
    /// Since when it is waited for, in milliseconds since the beginning and one more; 0 where it is not.
    since: AtomicU64,
    /// When it last came, or was over, in milliseconds since the beginning.
    moved: AtomicU64,
    over: AtomicBool,
    has_to_end: OnceLock<Why>,
    reader: AtomicWaker,
    /// Its place among those of its kind, until it is over, and when it had it.
    place: Mutex<Option<(Place, Instant)>>,
}

impl Rate {
    pub(super) fn new(client: Client) -> Self {
        Self(Arc::new(Shared {
            client,
            began: Instant::now(),
            bytes: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            since: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            over: AtomicBool::new(false),
            has_to_end: OnceLock::new(),
            reader: AtomicWaker::new(),
            place: Mutex::default(),
        }))
    }

    /// Whether the client is waited for: it has not sent all of the body, and all that it sent was taken.
    pub fn is_awaited(&self) -> bool {
        self.0.since.load(Relaxed) > 0 && !self.is_over()
    }

    /// When the last of it came: its beginning where nothing has, its end where it is over.
    pub fn moved_at(&self) -> Instant {
        self.0.began + Duration::from_millis(self.0.moved.load(Relaxed))
    }

    /// Whether fewer than 240 bytes came for each second that it was waited for, and there is more to come.
    pub fn is_slow(&self) -> bool {
        !self.is_over() && self.per_second(self.waited()) < ENOUGH
    }

    /// Why it had to give way, if it had: [`TooSlow`] or [`OverShare`].
    pub fn gave_way(&self) -> Option<BoxError> {
        self.0.has_to_end.get().map(|why| why.error())
    }

    /// Whose it is.
    pub(super) fn client(&self) -> Client {
        self.0.client
    }

    /// Whether the body is over, or nobody's any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.over.load(Relaxed)
    }

    /// Gives its place back, if it has one.
    pub(super) fn leave(&self) {
        *self.place() = None;
    }

    /// Whether it has one of these places.
    pub(super) fn is_in(&self, shares: &Arc<Shares>) -> bool {
        self.place().as_ref().is_some_and(|(place, _)| place.is_of(shares))
    }

    /// Keeps `place` until the body is over.
    pub(super) fn keep(&self, place: Place) {
        let mut kept = self.place();
        if !self.is_over() {
            *kept = Some((place, Instant::now()));
        }
    }

    /// Whether it has been told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.0.has_to_end.get().is_some()
    }

    /// Bytes a second, where they are too few and it is waited for more.
    pub(super) fn too_few(&self) -> Option<f64> {
        let waits = self.0.since.load(Relaxed) > 0 && !self.is_ending();
        self.after_grace(waits.then(|| self.waited())?).filter(|rate| *rate < ENOUGH)
    }

    /// How long it was waited for in all.
    fn waited(&self) -> Duration {
        let since = self.0.since.load(Relaxed).checked_sub(1);
        let waits = since.map_or(0, |since| self.now().saturating_sub(since));
        Duration::from_millis(self.0.waited.load(Relaxed) + waits)
    }

    /// Bytes a second, where it has had its place for so long that another may have it.
    pub(super) fn long_enough(&self) -> Option<f64> {
        let had = self.place().as_ref().map(|(_, since)| since.elapsed());
        self.after_grace(had.filter(|_| !self.is_ending())?)
    }

    fn after_grace(&self, time: Duration) -> Option<f64> {
        (time > GRACE).then(|| self.per_second(time))
    }

    #[allow(clippy::cast_precision_loss, reason = "a rate need not be exact")]
    fn per_second(&self, time: Duration) -> f64 {
        self.0.bytes.load(Relaxed) as f64 / time.as_secs_f64()
    }

    /// Ends the body in an error.
    pub(super) fn end(&self, why: Why) {
        self.0.has_to_end.get_or_init(|| why);
        self.0.reader.wake();
    }

    /// Whether it has to end, and why; wakes the reader once it has.
    pub(super) fn has_to_end(&self, cx: &Context<'_>) -> Option<Why> {
        self.0.reader.register(cx.waker());
        self.0.has_to_end.get().copied()
    }

    pub(super) fn waits(&self) {
        if self.0.since.load(Relaxed) == 0 {
            self.0.since.store(self.now() + 1, Relaxed);
        }
    }

    pub(super) fn came(&self, length: usize) {
        self.0.bytes.fetch_add(length as u64, Relaxed);
        let (now, since) = (self.now(), self.0.since.swap(0, Relaxed));
        self.0.moved.store(now, Relaxed);
        if let Some(since) = since.checked_sub(1) {
            self.0.waited.fetch_add(now.saturating_sub(since), Relaxed);
        }
    }

    pub(super) fn over(&self) {
        let mut kept = self.place();
        if !self.0.over.swap(true, Relaxed) {
            self.0.moved.store(self.now(), Relaxed);
        }
        *kept = None;
        drop(kept);
        // It would hold the memory of a connection that has ended until those that are over are looked for.
        drop(self.0.reader.take());
    }

    fn place(&self) -> MutexGuard<'_, Option<(Place, Instant)>> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").field("awaited", &self.is_awaited()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Waker};

    use bytes::Bytes;
    use http::Request;
    use http_body::{Body as _, Frame};
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use crate::transport::Rated;

    use super::*;

    #[tokio::test]
    async fn a_client_is_waited_for_once_all_that_came_was_taken_and_until_there_is_no_more() {
        let (sender, frames) = mpsc::channel::<Result<_, BoxError>>(8);
        let body = StreamBody::new(ReceiverStream::new(frames));
        let mut body = Rated::body_of(Request::new(body), None).into_body();
        let rate = body.rate();
        let mut take = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(!rate.is_awaited(), "nobody has asked for it");
        assert!(take().is_pending() && rate.is_awaited());
        sender.try_send(Ok(Frame::data(Bytes::from_static(b"x")))).unwrap();
        assert!(take().is_ready() && !rate.is_awaited());
        assert!(take().is_pending() && rate.is_awaited());
        drop(sender);
        assert!(take().is_ready() && !rate.is_awaited());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_moves_with_each_piece_and_with_its_end_and_then_no_more() {
        let (sender, frames) = mpsc::channel::<Result<_, BoxError>>(8);
        let body = StreamBody::new(ReceiverStream::new(frames));
        let mut body = Rated::body_of(Request::new(body), None).into_body();
        let (rate, began) = (body.rate(), Instant::now());
        let mut take = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert!(take().is_pending());
        assert_eq!(rate.moved_at(), began, "it has only been asked for");
        sender.try_send(Ok(Frame::data(Bytes::from_static(b"x")))).unwrap();
        assert!(take().is_ready());
        assert_eq!(rate.moved_at(), began + second);
        drop(sender);
        tokio::time::advance(second).await;
        assert!(take().is_ready());
        tokio::time::advance(second).await;
        drop(body);
        assert_eq!(rate.moved_at(), began + 2 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_slow_by_the_time_that_it_was_waited_for_until_it_is_over() {
        let (sender, frames) = mpsc::channel::<Result<_, BoxError>>(8);
        let body = StreamBody::new(ReceiverStream::new(frames));
        let mut body = Rated::body_of(Request::new(body), None).into_body();
        let rate = body.rate();
        let mut take = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert!(!rate.is_slow(), "nobody has asked for it");
        assert!(take().is_pending());
        tokio::time::advance(second).await;
        assert!(rate.is_slow());
        sender.try_send(Ok(Frame::data(Bytes::from(vec![0; 480])))).unwrap();
        assert!(take().is_ready());
        tokio::time::advance(10 * second).await;
        assert!(!rate.is_slow(), "nobody has asked for more");
        assert!(take().is_pending());
        tokio::time::advance(2 * second).await;
        assert!(rate.is_slow());
        drop(sender);
        assert!(take().is_ready() && !rate.is_slow());
    }
}
