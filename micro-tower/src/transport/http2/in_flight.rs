//! A request that waits for its response.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use tower::BoxError;

use super::{Incoming, slot::Slot};
use crate::{
    error::Phase,
    transport::{
        calls::{Heard, Waiting},
        upload::Upload,
    },
};

/// A request that was sent. Dropping it resets the stream, or cancels the call.
pub(in crate::transport) struct InFlight {
    answer: Answer,
    open: Option<(Slot, Upload)>,
}

enum Answer {
    Stream(h2::client::ResponseFuture),
    Call(Waiting),
}

impl InFlight {
    /// One that went as a stream.
    pub(super) fn stream(response: h2::client::ResponseFuture, slot: Slot, upload: Upload) -> Self {
        Self { answer: Answer::Stream(response), open: Some((slot, upload)) }
    }

    /// One that went beside the streams.
    pub(super) fn call(waiting: Waiting, slot: Slot) -> Self {
        Self { answer: Answer::Call(waiting), open: Some((slot, Upload::default())) }
    }

    pub(in crate::transport) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Option<Incoming>>, BoxError>> {
        if let Answer::Call(waiting) = &mut self.answer {
            let heard = ready!(Pin::new(waiting).poll(cx));
            let Some((slot, _)) = &self.open else { return Poll::Pending };
            match heard {
                Heard::Answer(response) => {
                    self.open = None;
                    return Poll::Ready(Ok(response.map(|whole| Some(Incoming::Whole(whole)))));
                }
                Heard::Fetch(request) => match slot.fetch(request) {
                    Ok(response) => self.answer = Answer::Stream(response),
                    Err(error) => {
                        self.open = None;
                        return Poll::Ready(Err(error));
                    }
                },
                heard => {
                    let error = slot.unanswered(&heard);
                    self.open = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
        let Answer::Stream(response) = &mut self.answer else { return Poll::Pending };
        let result = ready!(Pin::new(response).poll(cx));
        let Some((slot, mut upload)) = self.open.take() else { return Poll::Pending };
        Poll::Ready(match result {
            Err(error) => Err(slot.failed(Phase::Wait, error)),
            Ok(response) => {
                let (head, stream) = response.into_parts();
                let body = if stream.is_end_stream() {
                    upload.detach();
                    None
                } else {
                    Some(Incoming::stream(stream, slot, upload, &head.headers))
                };
                Ok(Response::from_parts(head, body))
            }
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // Whoever gives up may be in a hurry, or the peer may be gone: only the peer can tell.
        if let Some((slot, _)) = &self.open {
            slot.doubt();
        }
    }
}
