//! A body of which a part may have been taken, to see whether that is all of it.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::request::RequestBody;

/// What a body yields.
pub(super) type Next = Option<Result<Frame<Bytes>, BoxError>>;

/// A body, its first frame once that was taken, and a look at what follows: for most requests that is all there is.
pub(super) struct Begun<B> {
    pub(super) body: B,
    pub(super) first: Option<Frame<Bytes>>,
    pub(super) next: Poll<Next>,
}

impl<B: RequestBody> Begun<B> {
    /// All of `body`.
    pub(super) fn untouched(body: B) -> Self {
        Self { body, first: None, next: Poll::Pending }
    }

    /// `body`, of which is taken what is there.
    pub(super) fn new(body: B) -> Self {
        let mut begun = Self::untouched(body);
        begun.begin();
        begun
    }

    /// Takes what is there, once.
    pub(super) fn begin(&mut self) {
        if self.is_touched() {
            return;
        }
        // Nobody is woken by these polls. Where they find nothing, whoever sends it polls again, as itself.
        let mut cx = Context::from_waker(Waker::noop());
        match poll_frame(&mut self.body, &mut cx) {
            Poll::Ready(Some(Ok(first))) => {
                self.first = Some(first);
                self.next = match self.body.is_end_stream() {
                    true => Poll::Ready(None),
                    false => poll_frame(&mut self.body, &mut cx),
                };
            }
            next => self.next = next,
        }
    }

    /// The data, if there is nothing else. `None` where there is, or may be, more.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        self.first.as_ref()?.data_ref().filter(|_| matches!(self.next, Poll::Ready(None)))
    }

    /// The body as it was, if nothing was taken.
    pub(super) fn back(self) -> Option<B> {
        (!self.is_touched()).then_some(self.body)
    }

    fn is_touched(&self) -> bool {
        self.first.is_some() || self.next.is_ready()
    }
}

/// The next frame of `body`.
pub(super) fn poll_frame<B: RequestBody>(body: &mut B, cx: &mut Context<'_>) -> Poll<Next> {
    Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
}

impl<B: RequestBody> Body for Begun<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match &mut self.next {
            Poll::Ready(next) if next.is_none() => Poll::Ready(None),
            Poll::Ready(next) => {
                let next = next.take();
                self.next = Poll::Pending;
                Poll::Ready(next)
            }
            Poll::Pending => poll_frame(&mut self.body, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none()
            && match &self.next {
                Poll::Ready(next) => next.is_none(),
                Poll::Pending => self.body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let next = match &self.next {
            Poll::Ready(Some(Ok(next))) => Some(next),
            _ => None,
        };
        let taken = [self.first.as_ref(), next].into_iter().flatten();
        let taken: usize = taken.filter_map(|frame| frame.data_ref().map(Bytes::len)).sum();
        let (rest, mut hint) = (self.body.size_hint(), SizeHint::new());
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(taken as u64));
        }
        hint.set_lower(rest.lower().saturating_add(taken as u64));
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, BoxError>;

    fn data(text: &'static str) -> Piece {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    /// A body of `pieces` that are there, and then of `later` ones.
    fn body(pieces: Vec<Piece>, later: Option<Piece>) -> impl RequestBody {
        let mut waited = later.is_none();
        let later = stream::iter(later);
        let pause = stream::poll_fn(move |cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            match std::mem::replace(&mut waited, true) {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        });
        StreamBody::new(stream::iter(pieces).chain(pause).chain(later))
    }

    async fn all(mut body: impl RequestBody) -> String {
        let mut said = String::new();
        while let Some(frame) = body.frame().await {
            said += &match frame.map(Frame::into_data) {
                Ok(Ok(data)) => String::from_utf8(data.to_vec()).unwrap() + " ",
                Ok(Err(_)) => "trailers ".to_owned(),
                Err(_) => return said + "broken",
            };
        }
        assert!(poll_frame(&mut body, &mut Context::from_waker(Waker::noop())).is_ready(), "it has ended");
        said
    }

    #[tokio::test]
    async fn nothing_is_lost_of_what_was_taken() {
        let trailers = || Ok(Frame::trailers(http::HeaderMap::new()));
        let broken = || Err("no".into());
        for (pieces, later, said, whole) in [
            (vec![], None, "", false),
            (vec![data("a")], None, "a ", true),
            (vec![data("a"), data("b"), data("c")], None, "a b c ", false),
            (vec![data("a"), trailers()], None, "a trailers ", false),
            (vec![trailers()], None, "trailers ", false),
            (vec![], Some(data("a")), "a ", false),
            (vec![data("a")], Some(data("b")), "a b ", false),
            (vec![broken()], None, "broken", false),
            (vec![data("a"), broken()], None, "a broken", false),
        ] {
            let begun = Begun::new(body(pieces, later));
            assert_eq!(begun.whole().is_some(), whole, "{said}");
            assert_eq!(all(begun).await, said);
        }
    }

    #[test]
    fn what_is_whole_is_known_to_be_and_has_its_length() {
        let mut begun = Begun::untouched(Full::new(Bytes::from_static(b"body")));
        for _ in 0..2 {
            assert_eq!((begun.size_hint().exact(), begun.is_end_stream()), (Some(4), false));
            begun.begin();
            assert_eq!(begun.whole().map(|data| &data[..]), Some(&b"body"[..]));
        }
        assert!(begun.frame().now_or_never().is_some() && begun.is_end_stream());
        assert!(Begun::new(Full::<Bytes>::default()).is_end_stream());
    }

    /// A body that knows how long it is.
    struct Pieces(Vec<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Next> {
            Poll::Ready((!self.0.is_empty()).then(|| data(self.0.remove(0))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.concat().len() as u64)
        }
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_it_was_whatever_was_taken_and_nothing_is_taken_twice() {
        for pieces in [vec![], vec!["a"], vec!["a", "bc"], vec!["a", "bc", "def"]] {
            let (mut left, said) = (pieces.concat().len() as u64, pieces.concat());
            let mut begun = Begun::untouched(Pieces(pieces));
            let mut read = String::new();
            loop {
                begun.begin();
                assert_eq!(begun.size_hint().exact(), Some(left), "{said}");
                let Some(frame) = begun.frame().await else { break };
                let piece = frame.unwrap().into_data().unwrap();
                left -= piece.len() as u64;
                read += str::from_utf8(&piece).unwrap();
            }
            assert_eq!(read, said);
        }
    }

    #[test]
    fn only_what_was_not_taken_comes_back() {
        let text = || Full::new(Bytes::from_static(b"body"));
        assert!(Begun::untouched(text()).back().is_some());
        assert!(Begun::new(text()).back().is_none());
        assert!(Begun::new(body(vec![Err("no".into())], None)).back().is_none());
        let mut waits = Begun::untouched(body(vec![], Some(data("a"))));
        waits.begin();
        assert!(waits.back().is_some(), "there was nothing to take");
    }
}
