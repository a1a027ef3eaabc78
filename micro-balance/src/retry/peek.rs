//! Response bodies whose first frame has been looked at.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// What polling a body gives.
pub(crate) type Polled<R> = Option<Result<Frame<<R as Body>::Data>, <R as Body>::Error>>;

/// A response body, from the start: a first frame that was looked at stands in front again.
#[pin_project]
pub struct PeekBody<R: Body> {
    first: First<Polled<R>>,
    #[pin]
    inner: R,
}

enum First<T> {
    /// Put back in front.
    Back(T),
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
        Self { first: First::Back(first), inner }
    }
}

impl<R: Body> Body for PeekBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<R>> {
        let this = self.project();
        match std::mem::replace(this.first, First::Gone) {
            First::Gone => {}
            First::Back(first) => {
                if !matches!(&first, Some(Ok(frame)) if frame.is_data()) {
                    *this.first = First::Over;
                }
                return Poll::Ready(first);
            }
            First::Over => {
                *this.first = First::Over;
                return Poll::Ready(None);
            }
        }
        Poll::Ready(ready!(this.inner.poll_frame(cx)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.first {
            First::Gone => self.inner.is_end_stream(),
            First::Back(None) | First::Over => true,
            First::Back(Some(_)) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let kept = match &self.first {
            First::Gone => return self.inner.size_hint(),
            First::Back(Some(Ok(frame))) if frame.is_data() => {
                frame.data_ref().map_or(0, bytes::Buf::remaining)
            }
            First::Back(_) | First::Over => return SizeHint::with_exact(0),
        };
        let rest = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept as u64));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept as u64));
        }
        hint
    }
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
