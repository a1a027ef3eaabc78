//! Request bodies that give way where others wait for a connection: those that come too slowly, and those of clients that
//! have more than their share.

use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use micro_balance::BrokenBody;
use tower::BoxError;

use super::rate::Rate;

/// The body of a request that comes from a stranger, who may take his time over it.
///
/// Over HTTP/1 a request has a connection to itself. Requests with such bodies get seven eighths of an endpoint's, so that
/// there are always some for those that are whole. Where a request waits for one all the same, bodies that were waited for
/// for more than 5 s in all, and of which fewer than 240 bytes a second came, end in [`TooSlow`](super::TooSlow), the slowest
/// first and no more of them than requests wait. Where nobody waits a body may take as long as it likes.
///
/// Over HTTP/2 they get seven eighths of the streams that all connections to the endpoint may have, and however slow they are
/// they end for that reason alone that follows.
///
/// Clients share those connections and streams. Whoever has fewest is next where one comes free; and where somebody waits who
/// has less than an equal share, bodies of those who have more, that had theirs for more than 5 s, end in
/// [`OverShare`](super::OverShare). A client is an IPv4 address, or the first 64 bits of an IPv6 address.
///
/// Errors of the body become [`BrokenBody`], which is held against no endpoint.
pub struct Rated<B> {
    inner: B,
    rate: Rate,
}

impl<B> Rated<B> {
    /// Has the body of `request`, which `client` has sent, give way. The request remembers that in its extensions.
    pub fn body_of(request: Request<B>, client: Option<IpAddr>) -> Request<Self> {
        let rate = Rate::new(client.into());
        let (mut parts, inner) = request.into_parts();
        parts.extensions.insert(rate.clone());
        Request::from_parts(parts, Self { inner, rate })
    }

    /// How it comes, also after it was handed on.
    pub fn rate(&self) -> Rate {
        self.rate.clone()
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
        if let Some(why) = self.rate.has_to_end(cx) {
            return Poll::Ready(Some(Err(BrokenBody::new(why.error()))));
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
