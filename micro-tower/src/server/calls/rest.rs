//! The body of an answer, of which as much is taken as goes into a message.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;

use crate::pipe::call::{LONGEST, Whole};

/// What is left of a body of which something was taken.
pub(super) struct Rest {
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// `None` once it has ended.
    body: Option<Body>,
}

/// How much of a body there is.
pub(super) enum Gathered {
    All,
    Part,
    Failed,
}

impl Rest {
    pub(super) fn new(body: Body) -> Self {
        Self { chunks: VecDeque::new(), trailers: None, body: Some(body) }
    }

    /// Takes what is there, up to more than goes into a message.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>) -> Gathered {
        let mut length = 0;
        while let Some(body) = &mut self.body {
            if body.is_end_stream() {
                self.body = None;
                break;
            }
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Gathered::Part,
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Err(_))) => return Gathered::Failed,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        length += data.len();
                        self.chunks.push_back(data);
                        if length > LONGEST {
                            return Gathered::Part;
                        }
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.body = None;
                    }
                },
            }
        }
        Gathered::All
    }

    /// All of it.
    pub(super) fn whole(&self) -> Whole {
        let data = match self.chunks.len() {
            0 | 1 => self.chunks.front().cloned(),
            _ => {
                let mut data = BytesMut::new();
                self.chunks.iter().for_each(|chunk| data.extend_from_slice(chunk));
                Some(data.freeze())
            }
        };
        Whole { data, trailers: self.trailers.clone() }
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.body.as_ref().is_none_or(HttpBody::is_end_stream);
        ended && self.chunks.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
