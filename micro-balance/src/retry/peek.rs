//! Response bodies whose first frames have been looked at.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf as _;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// What polling a body gives.
pub(crate) type Polled<R> = Option<Result<Frame<<R as Body>::Data>, <R as Body>::Error>>;

/// A response body, from the start: the frames that were looked at stand in front again.
#[pin_project]
pub struct PeekBody<R: Body> {
    first: First<R>,
    #[pin]
    inner: R,
}

/// An answer is moved through each layer: what is large and seldom is in a box of its own.
enum First<R: Body> {
    /// Put back in front.
    Data(R::Data),
    /// Put back in front as well: trailers, or an error.
    Last(Box<Result<Frame<R::Data>, R::Error>>),
    /// Several that were put back, one at least.
    Several(VecDeque<Polled<R>>),
    /// Nothing is in front of the inner body.
    Gone,
    /// What was put back was the end.
    Over,
}

impl<R: Body> PeekBody<R> {
    /// A body nobody has looked at.
    pub(crate) fn untouched(inner: R) -> Self {
        Self { first: First::Gone, inner }
    }

    /// Puts back what the first poll of `inner` gave.
    pub(crate) fn put_back(first: Polled<R>, inner: R) -> Self {
        let first = match first.map(|first| first.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => First::Data(data),
            Some(Ok(Err(frame))) => First::Last(Box::new(Ok(frame))),
            Some(Err(error)) => First::Last(Box::new(Err(error))),
            None => First::Over,
        };
        Self { first, inner }
    }

    /// Puts back what several polls of `inner` gave, in their order.
    pub(crate) fn put_all_back(kept: VecDeque<Polled<R>>, inner: R) -> Self {
        Self { first: if kept.is_empty() { First::Gone } else { First::Several(kept) }, inner }
    }
}

impl<R: Body> Body for PeekBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<R>> {
        let this = self.project();
        let next = match std::mem::replace(this.first, First::Gone) {
            First::Gone => return Poll::Ready(ready!(this.inner.poll_frame(cx))),
            First::Data(data) => Some(Ok(Frame::data(data))),
            First::Last(last) => Some(*last),
            First::Several(mut kept) => {
                let next = kept.pop_front().flatten();
                if !kept.is_empty() {
                    *this.first = First::Several(kept);
                }
                next
            }
            First::Over => None,
        };
        if !matches!(&next, Some(Ok(frame)) if frame.is_data()) {
            *this.first = First::Over;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match &self.first {
            First::Gone => self.inner.is_end_stream(),
            First::Over => true,
            First::Data(_) | First::Last(_) => false,
            First::Several(kept) => matches!(kept.front(), None | Some(None)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (kept, over) = match &self.first {
            First::Gone => return self.inner.size_hint(),
            First::Data(data) => (Some(data.remaining() as u64), false),
            First::Last(_) | First::Over => (None, true),
            First::Several(kept) => {
                let length = kept.iter().filter_map(data::<R>).sum();
                (Some(length), kept.back().is_some_and(|last| data::<R>(last).is_none()))
            }
        };
        let kept = kept.unwrap_or(0);
        if over {
            return SizeHint::with_exact(kept);
        }
        let rest = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

/// How many bytes a frame is, unless it is none of data, or the end.
fn data<R: Body>(polled: &Polled<R>) -> Option<u64> {
    let frame = polled.as_ref()?.as_ref().ok()?;
    frame.data_ref().map(|data| data.remaining() as u64)
}

impl<R: Body + Default> Default for PeekBody<R> {
    fn default() -> Self {
        Self::untouched(R::default())
    }
}

impl<R: Body + fmt::Debug> fmt::Debug for PeekBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
