//! Bodies of attempts, one after another and side by side.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use http::HeaderMap;
use http_body::{Frame, SizeHint};
use proptest::prelude::*;
use tokio_test::{assert_pending, assert_ready, task};
use tower::BoxError;

use super::{shared::MAX_FRAMES, *};

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
    let frames = chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))).collect();
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
