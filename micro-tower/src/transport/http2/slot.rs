//! A place on a connection, and how a request is sent from it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use http::{Request, header};
use micro_balance::Unsent;
use tower::BoxError;

use super::{Http2, InFlight};
use crate::{
    error::{Error, Phase},
    transport::{
        begun::Begun,
        calls::{Heard, Waiting},
        request::RequestBody,
        target::{Target, remove_hop_by_hop},
        upload::Upload,
    },
};

/// A request's place on a connection, counted until this is dropped.
pub(in crate::transport) struct Slot {
    http2: Arc<Http2>,
    /// How much had been written when it was taken: the request's own bytes come after that.
    mark: u64,
    /// How often something had been read by then.
    reads: usize,
}

impl Slot {
    pub(super) fn taken(http2: Arc<Http2>) -> Self {
        http2.in_flight.fetch_add(1, Relaxed);
        let (mark, reads) = (http2.progress.written(), http2.reads.load(Relaxed));
        Self { http2, mark, reads }
    }

    /// Sends `request`, or gives an error that hands it back.
    pub(in crate::transport) fn send<B: RequestBody>(
        self,
        target: &Target,
        request: Request<B>,
    ) -> Result<InFlight, BoxError> {
        let mut sender = self.http2.sender.clone();
        let mut cx = Context::from_waker(Waker::noop());
        // A clone has no request waiting, so this tells one thing: whether the connection is open.
        if let Poll::Ready(Err(error)) = sender.poll_ready(&mut cx) {
            let error = self.http2.name.blame(Error::not_sent(Phase::Send, error));
            return Err(Unsent::new(request, error).into());
        }
        let (mut parts, body) = request.into_parts();
        let host = remove_hop_by_hop(&mut parts.headers);
        parts.uri = target.absolute(parts.uri, host);
        parts.version = http::Version::HTTP_2;
        let empty = body.is_end_stream();
        if let Some(length) = body.size_hint().exact().filter(|_| !empty) {
            parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        let begun = (!empty).then(|| Begun::new(body));
        if let Some(waiting) = self.send_aside(&parts, begun.as_ref()) {
            return Ok(InFlight::call(waiting, self));
        }
        let (response, stream) = sender
            .send_request(Request::from_parts(parts, ()), empty)
            .map_err(|error| self.http2.name.blame(Error::not_sent(Phase::Send, error)))?;
        let failed = |error| self.http2.name.blame(Error::new(Phase::Send, error));
        let upload =
            begun.map_or_else(|| Ok(Upload::default()), |begun| begun.send(stream)).map_err(failed)?;
        Ok(InFlight::stream(response, self, upload))
    }

    /// Sends a request beside the streams, if there is such a way and nothing more will come of its body.
    fn send_aside<B: RequestBody>(
        &self,
        parts: &http::request::Parts,
        begun: Option<&Begun<B>>,
    ) -> Option<Waiting> {
        let calls = self.http2.calls.as_ref().filter(|_| self.http2.is_within_limit())?;
        match begun {
            Some(begun) => calls.send(parts, Some(begun.whole()?)),
            None => calls.send(parts, None),
        }
    }

    /// Opens the stream of an answer that is one.
    pub(super) fn fetch(&self, request: Request<()>) -> Result<h2::client::ResponseFuture, BoxError> {
        let fetched = self.http2.sender.clone().send_request(request, true);
        Ok(fetched.map_err(|error| self.failed(Phase::Wait, error))?.0)
    }

    /// Has the peer asked whether it is still there, unless it has said something since.
    pub(super) fn doubt(&self) {
        if self.reads == self.http2.reads.load(Relaxed) {
            self.http2.doubt();
        }
    }

    /// Why a call that went beside the streams has no answer.
    pub(super) fn unanswered(&self, heard: &Heard) -> BoxError {
        let (how, why): (fn(_, _) -> _, _) = match heard {
            Heard::Refused => (Error::refused, "the server takes no more requests on this connection"),
            Heard::Over(why) if self.http2.progress.is_lost(self.mark) => (Error::not_sent, *why),
            Heard::Over(why) => (Error::new, *why),
            _ => (Error::new, "the server broke the call off"),
        };
        let why = self.http2.gone.get().copied().unwrap_or(why);
        self.http2.name.blame(how(Phase::Wait, why)).into()
    }

    pub(super) fn failed(&self, phase: Phase, error: h2::Error) -> BoxError {
        self.http2.failed(self.mark, phase, error)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.http2.in_flight.fetch_sub(1, Relaxed);
    }
}
