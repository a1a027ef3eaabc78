//! What attempts share: the caller's body, and what of it is kept for attempts to come.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

/// Frames kept at most, so that a flood of tiny ones does not cost many times its size.
pub(super) const MAX_FRAMES: usize = 4096;

/// A body and what is kept of it.
pub(super) struct Shared<B> {
    /// `None` once it has ended.
    pub(super) source: Option<B>,
    /// The first chunk, often the only one, costs no allocation.
    first: Option<Bytes>,
    more: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    /// Chunks read and not kept, so that chunks can be counted from the start of the body.
    gone: usize,
    len: usize,
    cap: usize,
    /// Chunks are still kept for a next attempt.
    pub(super) keeping: bool,
    /// All that has been read is kept.
    pub(super) whole: bool,
    /// Something has been read.
    pub(super) touched: bool,
    /// The source ended in an error.
    pub(super) failed: bool,
    pub(super) attempt: u32,
    /// Attempts waiting for the source. One of them is woken by the source, all others by that one.
    pub(super) waiting: Vec<Waker>,
}

/// Nothing when the body is empty: there is nothing to keep.
pub(super) type Link<B> = Option<Arc<Mutex<Shared<B>>>>;

impl<B: Body<Data = Bytes>> Shared<B> {
    /// Keeps up to `cap` bytes of `body`, and nothing if it is known to be longer.
    pub(super) fn link(body: B, cap: usize) -> Link<B> {
        if body.is_end_stream() {
            return None;
        }
        let fits = body.size_hint().lower() <= cap as u64;
        let shared = Self {
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
        Some(Arc::new(Mutex::new(shared)))
    }
}

impl<B> Shared<B> {
    /// Chunk number `n` from the start of the body.
    pub(super) fn chunk(&self, n: usize) -> Option<&Bytes> {
        match n.checked_sub(self.gone)? {
            0 => self.first.as_ref(),
            n => self.more.get(n - 1),
        }
    }

    /// How many chunks were read.
    pub(super) fn count(&self) -> usize {
        self.gone + self.kept()
    }

    pub(super) fn kept(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// Why an attempt that has got to chunk `next` cannot go on.
    pub(super) fn refuses(&self, attempt: u32, next: usize) -> Option<&'static str> {
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
    pub(super) fn keep(&mut self, frame: &Frame<Bytes>) {
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

    pub(super) fn forget(&mut self) {
        self.gone += self.kept();
        (self.keeping, self.whole) = (false, false);
        (self.first, self.more) = (None, Vec::new());
    }
}

/// A source that panicked leaves nothing half done that could not be used.
pub(super) fn lock<B>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
