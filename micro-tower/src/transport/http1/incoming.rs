//! The body of a response, and what its connection is of.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tower::BoxError;

use super::reading::Reading;
use crate::{
    error::{Error, Phase},
    transport::{io::Io, target::Name},
};

/// Where connections go that may be used again.
pub(super) trait Home: Send + Sync {
    fn put(&self, io: Box<Io>);
    /// Whose they are.
    fn name(&self) -> &Name;
}

/// The body of a response, and the connection it comes from.
pub(in crate::transport) enum Incoming {
    /// All of it came with the head; its connection is back already.
    Whole(Bytes),
    Reading(Box<Reading>),
    /// Of a connection with a task.
    Lent(Box<dyn Borrowed>),
}

/// A body with the connection that it was lent, which it gives back when it has ended or is not wanted, and is dropped.
pub(in crate::transport) trait Borrowed: Send + Sync {
    fn body(&self) -> &hyper::body::Incoming;
    fn body_mut(&mut self) -> &mut hyper::body::Incoming;
}

impl Incoming {
    pub(in crate::transport) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let failed = |error: BoxError| Error::new(Phase::Read, error).into();
        match self {
            Self::Whole(data) if data.is_empty() => Poll::Ready(None),
            Self::Whole(data) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(data))))),
            Self::Reading(reading) => reading.poll_frame(cx).map_err(failed),
            Self::Lent(lent) => {
                Pin::new(lent.body_mut()).poll_frame(cx).map_err(|error| failed(error.into()))
            }
        }
    }

    pub(in crate::transport) fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(data) => data.is_empty(),
            Self::Reading(reading) => reading.is_end_stream(),
            Self::Lent(lent) => lent.body().is_end_stream(),
        }
    }

    pub(in crate::transport) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(data) => SizeHint::with_exact(data.len() as u64),
            Self::Reading(reading) => reading.size_hint(),
            Self::Lent(lent) => lent.body().size_hint(),
        }
    }
}

/// A place at the endpoint, and where its connection goes in the end.
pub(super) struct Place {
    pub(super) home: Arc<dyn Home>,
    pub(super) _permit: OwnedSemaphorePermit,
}
