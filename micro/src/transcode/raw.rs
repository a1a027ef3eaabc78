//! Several `google.api.HttpBody` in one response: their bytes, one behind the other.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body, Frame};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::{Status, Streaming};

use super::documents::Complaint;
use super::input::HTTP_BODY;
use super::output::{Output, output};

/// Whether what `method` answers, or the field of it that `response_body` names, is one.
pub(super) fn is_raw(method: &MethodDescriptor, response_body: &str) -> bool {
    let message = match method.output().get_field_by_name(response_body) {
        Some(field) if field.is_list() => None,
        Some(field) => field.kind().as_message().cloned(),
        None => Some(method.output()),
    };
    message.is_some_and(|message| message.full_name() == HTTP_BODY)
}

/// The body of such a response. It breaks off where the call fails: what came before looks like no error.
pub(super) struct Raw {
    first: Option<Bytes>,
    answers: Streaming<DynamicMessage>,
    complaint: Complaint,
    response_body: String,
}

impl Raw {
    /// Waits for the first answer, which says what all of them are: the type of the response, and its body.
    pub(super) async fn begin(
        mut answers: Streaming<DynamicMessage>,
        mut complaint: Complaint,
        response_body: String,
    ) -> Result<(String, Self), Status> {
        let first = complaint.unless(answers.message()).await?;
        let Output { kind, data } = match &first {
            Some(message) => output(message, &response_body)?,
            None => Output { kind: "application/octet-stream".to_owned(), data: Bytes::new() },
        };
        Ok((kind, Self { first: Some(data), answers, complaint, response_body }))
    }
}

impl Body for Raw {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let answer = match self.complaint.poll(cx) {
            Poll::Ready(why) => Some(Err(why)),
            Poll::Pending => ready!(self.answers.poll_next_unpin(cx)),
        };
        let data = answer.map(|answer| {
            let output = answer.and_then(|message| output(&message, &self.response_body));
            output.map(|output| Frame::data(output.data)).inspect_err(|_| {
                metrics::counter!("micro_gateway_transcode_errors_total").increment(1);
            })
        });
        Poll::Ready(data)
    }
}
