//! The task of a connection.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::Reason;

use super::Http2;
use crate::transport::{io::Io, keepalive::Keepalive};

/// Does the reading and writing of a connection: to be run as a task.
pub(in crate::transport) struct Driver {
    connection: h2::client::Connection<Io, Bytes>,
    keepalive: Option<Keepalive>,
    http2: Weak<Http2>,
    reads: Arc<AtomicUsize>,
    reads_before: usize,
}

impl Driver {
    pub(super) fn new(
        connection: h2::client::Connection<Io, Bytes>,
        keepalive: Option<Keepalive>,
        http2: &Arc<Http2>,
        reads: Arc<AtomicUsize>,
    ) -> Self {
        Self { connection, keepalive, http2: Arc::downgrade(http2), reads, reads_before: usize::MAX }
    }

    /// Runs until the connection takes no further request, and says why where the peer gave a reason.
    pub(in crate::transport) async fn open(&mut self) -> Option<Reason> {
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
    pub(in crate::transport) async fn drain(mut self) {
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
