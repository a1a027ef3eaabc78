//! Request bodies that can be sent again, as far as they were kept.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

/// Frames kept at most, so that a flood of tiny ones does not cost many times its size.
const MAX_FRAMES: usize = 4096;

/// Keeps what attempts read of a request body, and gives each attempt a body of its own.
///
/// Dropping it is the commitment to the present attempt: from then on nothing more is kept.
pub(crate) struct Replay<B> {
    /// `None` when the body is empty: there is nothing to keep.
    shared: Option<Arc<Mutex<Shared<B>>>>,
}

struct Shared<B> {
    /// `None` once it has ended.
    source: Option<B>,
    /// The first chunk, often the only one, costs no allocation.
    first: Option<Bytes>,
    more: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    /// Chunks read and not kept, so that chunks can be counted from the start of the body.
    gone: usize,
    len: usize,
    cap: usize,
    /// Chunks are still kept for a next attempt.
    keeping: bool,
    /// All that has been read is kept.
    whole: bool,
    /// Something has been read.
    touched: bool,
    /// The source ended in an error.
    failed: bool,
    attempt: u32,
    /// Attempts waiting for the source. One of them is woken by the source, all others by that one.
    waiting: Vec<Waker>,
}

impl<B> Replay<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Keeps up to `cap` bytes of `body`, and nothing if it is known to be longer.
    pub(crate) fn new(body: B, cap: usize) -> Self {
        if body.is_end_stream() {
            return Self { shared: None };
        }
        let fits = body.size_hint().lower() <= cap as u64;
        let shared = Shared {
            source: Some(body),
            first: None,
            more: Vec::new(),
            trailers: None,
            gone: 0,
            len: 0,
            cap,
            keeping: fits,
            whole: fits,
            touched: false,
            failed: false,
            attempt: 0,
            waiting: Vec::new(),
        };
        Self { shared: Some(Arc::new(Mutex::new(shared))) }
    }

    /// The body for the first attempt.
    pub(crate) fn first(&self) -> ReplayBody<B> {
        self.body(0)
    }

    /// The body for the next attempt, which abandons those before: they end in an error, never early.
    pub(crate) fn next(&self) -> ReplayBody<B> {
        let attempt = self.shared.as_ref().map_or(0, |shared| {
            let mut locked = lock(shared);
            locked.attempt += 1;
            let (attempt, waiting) = (locked.attempt, std::mem::take(&mut locked.waiting));
            drop(locked);
            waiting.into_iter().for_each(Waker::wake);
            attempt
        });
        self.body(attempt)
    }

    /// The body for an attempt beside the present one; `None` when something of it was not kept.
    ///
    /// Whichever attempt is ahead reads from the source for both. If the body then outgrows what may be
    /// kept, the one behind fails.
    pub(crate) fn beside(&self) -> Option<ReplayBody<B>> {
        let attempt = match &self.shared {
            Some(shared) => Some(lock(shared)).filter(|shared| shared.whole)?.attempt,
            None => 0,
        };
        Some(self.body(attempt))
    }

    /// Whether a next attempt would send the same body as the first.
    pub(crate) fn is_whole(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| lock(shared).whole)
    }

    /// The same, when nothing of the body has left: then its length does not matter.
    pub(crate) fn is_whole_or_untouched(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            let shared = lock(shared);
            shared.whole || !shared.touched
        })
    }

    /// Whether all of the body has left, and would leave again.
    pub(crate) fn is_spent(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            let shared = lock(shared);
            shared.whole && shared.source.as_ref().is_none_or(Body::is_end_stream)
        })
    }

    fn body(&self, attempt: u32) -> ReplayBody<B> {
        ReplayBody { shared: self.shared.clone(), attempt, next: 0, trailed: false }
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.as_ref().filter(|shared| Arc::strong_count(shared) > 1) {
            lock(shared).keeping = false;
        }
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

/// The body of one attempt: first what earlier attempts read, then the rest of the caller's.
///
/// Chunks are shared, never copied. Once the caller's body outgrows what may be kept, this attempt goes on
/// as if nothing were, and no other follows.
pub struct ReplayBody<B> {
    shared: Option<Arc<Mutex<Shared<B>>>>,
    attempt: u32,
    next: usize,
    trailed: bool,
}

/// Ends the body of an attempt that another has outrun or taken the place of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Abandoned(&'static str);

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
        let Some(shared) = &self.shared else { return true };
        let shared = lock(shared);
        shared.refuses(self.attempt, self.next).is_none()
            && self.next >= shared.count()
            && (self.trailed || shared.trailers.is_none())
            && shared.source.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
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
        Replay::new(body, 0).first()
    }
}

/// An empty body.
impl<B> Default for ReplayBody<B> {
    fn default() -> Self {
        Self { shared: None, attempt: 0, next: 0, trailed: false }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl<B> Shared<B> {
    /// Chunk number `n` from the start of the body.
    fn chunk(&self, n: usize) -> Option<&Bytes> {
        match n.checked_sub(self.gone)? {
            0 => self.first.as_ref(),
            n => self.more.get(n - 1),
        }
    }

    /// How many chunks were read.
    fn count(&self) -> usize {
        self.gone + self.kept()
    }

    fn kept(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// Why an attempt that has got to chunk `next` cannot go on.
    fn refuses(&self, attempt: u32, next: usize) -> Option<&'static str> {
        if attempt != self.attempt {
            Some("the attempt was abandoned for another")
        } else if self.failed {
            Some("the body of the request failed in another attempt")
        } else if next < self.gone {
            Some("the body of the request has gone on with another attempt")
        } else {
            None
        }
    }

    /// Keeps a frame from the source for attempts to come, or all of nothing.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        self.touched = true;
        if let Some(trailers) = frame.trailers_ref() {
            self.source = None;
            if self.keeping {
                self.trailers = Some(trailers.clone());
            } else {
                self.forget();
            }
        } else if let Some(data) = frame.data_ref() {
            self.len = self.len.saturating_add(data.len());
            if !self.keeping || self.len > self.cap || self.kept() >= MAX_FRAMES {
                self.forget();
                self.gone += 1;
            } else if self.first.is_none() {
                self.first = Some(data.clone());
            } else {
                self.more.push(data.clone());
            }
        }
    }

    fn forget(&mut self) {
        self.gone += self.kept();
        (self.keeping, self.whole) = (false, false);
        (self.first, self.more) = (None, Vec::new());
    }
}

/// A source that panicked leaves nothing half done that could not be used.
fn lock<B>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    /// Frames of a test, with a pause before each where `pauses` says so.
    #[derive(Default)]
    struct Source {
        frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
        pauses: VecDeque<bool>,
        open: bool,
        hint: Option<u64>,
    }

    impl Body for Source {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            if self.pauses.pop_front() == Some(true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.frames.pop_front() {
                None if self.open => Poll::Pending,
                frame => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.frames.is_empty() && !self.open
        }

        fn size_hint(&self) -> SizeHint {
            self.hint.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn source(chunks: &[&'static str]) -> Source {
        let frames =
            chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))).collect();
        Source { frames, ..Source::default() }
    }

    type Read = Option<Result<Frame<Bytes>, BoxError>>;

    fn poll(body: &mut ReplayBody<Source>) -> Poll<Read> {
        let mut task = task::spawn(());
        task.enter(|cx, _| Pin::new(body).poll_frame(cx))
    }

    fn data(polled: Poll<Read>) -> Bytes {
        assert_ready!(polled).unwrap().unwrap().into_data().unwrap()
    }

    /// Reads `limit` frames, or all: the bytes, the trailers, and whether the end was reached.
    fn read(body: &mut ReplayBody<Source>, limit: usize) -> (Vec<u8>, Option<HeaderMap>, bool) {
        let (mut bytes, mut trailers) = (Vec::new(), None);
        let mut frames = 0;
        while frames < limit {
            match poll(body) {
                Poll::Pending => continue,
                Poll::Ready(None) => return (bytes, trailers, true),
                Poll::Ready(Some(frame)) => match frame.unwrap().into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
            frames += 1;
        }
        (bytes, trailers, false)
    }

    proptest! {
        /// However the body is cut, wherever attempts are given up, the last one sends it byte for byte.
        #[test]
        fn every_attempt_sends_the_same_bytes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..12),
            pauses in prop::collection::vec(any::<bool>(), 0..20),
            trailed in any::<bool>(),
            abandoned in prop::collection::vec(0_usize..15, 0..4),
            cap in 0_usize..150,
        ) {
            let bytes = chunks.concat();
            let mut frames: VecDeque<_> = chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from(chunk.clone())))).collect();
            let trailers: HeaderMap = [("a", "1"), ("a", "2")].into_iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect::<HeaderMap>();
            if trailed {
                frames.push_back(Ok(Frame::trailers(trailers.clone())));
            }
            let replay = Replay::new(Source { frames, pauses: pauses.into(), ..Source::default() }, cap);
            let mut body = replay.first();
            let (mut sent, mut seen) = (Vec::new(), None);
            for limit in abandoned {
                (sent, seen, _) = read(&mut body, limit);
                prop_assert!(bytes.starts_with(&sent));
                if !replay.is_whole() {
                    break;
                }
                body = replay.next();
                (sent, seen) = (Vec::new(), None);
            }
            // The last attempt: a fresh one, or the one that went on when the body outgrew the limit.
            prop_assert!(replay.is_whole() || bytes.len() > cap);
            let (rest, more, ended) = read(&mut body, usize::MAX);
            sent.extend(rest);
            prop_assert!(ended);
            prop_assert_eq!(sent, bytes);
            prop_assert_eq!(seen.or(more), trailed.then_some(trailers));
        }
    }

    #[test]
    fn an_empty_body_is_known_to_be_empty_in_every_attempt() {
        let replay = Replay::new(source(&[]), 10);
        for mut body in [replay.first(), replay.next()] {
            assert!(body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(0));
            assert!(assert_ready!(poll(&mut body)).is_none());
        }
    }

    #[test]
    fn a_body_known_to_be_too_long_is_sent_once_but_may_move_while_untouched() {
        let replay = Replay::new(Source { hint: Some(11), ..source(&["hello ", "world"]) }, 10);
        assert!(!replay.is_whole() && replay.is_whole_or_untouched());
        let mut moved = replay.next();
        assert_eq!(data(poll(&mut moved)), "hello ");
        assert!(!replay.is_whole_or_untouched());
        assert_eq!(read(&mut moved, 9).0, b"world");
    }

    #[test]
    fn a_body_that_outgrows_the_limit_goes_on_unaffected() {
        let replay = Replay::new(source(&["12345", "67890", "x", "y"]), 10);
        let mut body = replay.first();
        assert_eq!(read(&mut body, 2).0, b"1234567890");
        assert!(replay.is_whole() && !replay.is_spent());
        assert_eq!(read(&mut body, 9), (b"xy".to_vec(), None, true));
        assert!(!replay.is_spent() && !replay.is_whole() && !replay.is_whole_or_untouched());
    }

    #[test]
    fn an_abandoned_attempt_ends_in_an_error_and_never_early() {
        let replay = Replay::new(Source { open: true, ..source(&["one"]) }, 10);
        let mut old = replay.first();
        assert_eq!(data(poll(&mut old)), "one");
        let mut waiting = task::spawn(());
        waiting.enter(|cx, _| assert_pending!(Pin::new(&mut old).poll_frame(cx)));
        let mut new = replay.next();
        assert!(waiting.is_woken(), "it must learn that it waits in vain");
        assert!(assert_ready!(poll(&mut old)).unwrap().unwrap_err().is::<Abandoned>());
        assert!(!old.is_end_stream());
        assert_eq!(data(poll(&mut new)), "one");
        assert_pending!(poll(&mut new));
    }

    #[test]
    fn a_body_that_fails_is_not_sent_again() {
        let mut failing = source(&["one"]);
        failing.frames.push_back(Err("the caller hung up"));
        let replay = Replay::new(failing, 10);
        let mut body = replay.first();
        assert_eq!(data(poll(&mut body)), "one");
        assert_eq!(assert_ready!(poll(&mut body)).unwrap().unwrap_err().to_string(), "the caller hung up");
        assert!(!replay.is_whole());
    }

    #[test]
    fn sizes_and_the_end_are_as_exact_as_the_sources() {
        let replay = Replay::new(Source { hint: Some(6), ..source(&["one", "two"]) }, 10);
        let mut first = replay.first();
        assert_eq!(first.size_hint().exact(), Some(6));
        data(poll(&mut first));
        // The test's source does not count down; a real one does.
        let second = replay.next();
        assert_eq!(second.size_hint().exact(), Some(9));
        assert!(!second.is_end_stream());
    }

    #[test]
    fn after_the_commitment_nothing_is_kept_and_nothing_missing() {
        let replay = Replay::new(Source { open: true, ..source(&["one", "two", "three"]) }, 100);
        let mut first = replay.first();
        assert_eq!(read(&mut first, 2).0, b"onetwo");
        let mut second = replay.next();
        assert_eq!(data(poll(&mut second)), "one");
        drop(replay);
        assert_eq!(read(&mut second, 2).0, b"twothree");
        let shared = second.shared.as_ref().map(|shared| lock(shared).kept());
        assert_eq!(shared, Some(0));
    }

    #[test]
    fn a_flood_of_tiny_frames_is_not_kept() {
        let frames = (0..MAX_FRAMES + 1).map(|_| Ok(Frame::data(Bytes::from_static(b"x")))).collect();
        let replay = Replay::new(Source { frames, ..Source::default() }, 1 << 20);
        let mut body = replay.first();
        assert_eq!(read(&mut body, usize::MAX).0.len(), MAX_FRAMES + 1);
        assert!(!replay.is_whole());
    }

    #[test]
    fn bodies_side_by_side_read_on_for_each_other() {
        let replay = Replay::new(Source { open: true, ..source(&["one", "two"]) }, 100);
        let (mut first, mut second) = (replay.first(), replay.beside().unwrap());
        assert_eq!(read(&mut second, 1).0, b"one");
        assert_eq!(read(&mut first, 2).0, b"onetwo");
        assert_eq!(read(&mut second, 1).0, b"two");
        // Both wait; whichever sees the end first tells the other.
        let (mut one, mut two) = (task::spawn(()), task::spawn(()));
        one.enter(|cx, _| assert_pending!(Pin::new(&mut first).poll_frame(cx)));
        two.enter(|cx, _| assert_pending!(Pin::new(&mut second).poll_frame(cx)));
        if let Some(shared) = &replay.shared {
            lock(shared).source.as_mut().unwrap().open = false;
        }
        one.enter(|cx, _| assert!(assert_ready!(Pin::new(&mut first).poll_frame(cx)).is_none()));
        assert!(two.is_woken());
        two.enter(|cx, _| assert!(assert_ready!(Pin::new(&mut second).poll_frame(cx)).is_none()));
    }

    #[test]
    fn of_two_bodies_the_one_behind_fails_when_the_limit_is_passed() {
        let replay = Replay::new(source(&["one", "two", "three"]), 6);
        let (mut first, mut second) = (replay.first(), replay.beside().unwrap());
        assert_eq!(read(&mut first, 9), (b"onetwothree".to_vec(), None, true));
        assert!(assert_ready!(poll(&mut second)).unwrap().unwrap_err().is::<Abandoned>());
        assert!(!second.is_end_stream() && replay.beside().is_none());
    }

    #[test]
    fn a_source_that_fails_for_one_body_fails_for_both() {
        let mut failing = source(&[]);
        failing.frames.push_back(Err("the caller hung up"));
        let replay = Replay::new(failing, 10);
        let (mut first, mut second) = (replay.first(), replay.beside().unwrap());
        assert!(assert_ready!(poll(&mut first)).unwrap().is_err());
        assert!(assert_ready!(poll(&mut second)).unwrap().is_err(), "not a body that ends early");
        assert!(!second.is_end_stream());
    }
}
