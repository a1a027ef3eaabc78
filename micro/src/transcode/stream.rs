//! Several answers in one response: lines, events, or an array.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, header};
use http_body::{Body, Frame};
use prost_reflect::{DescriptorPool, DynamicMessage};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, Streaming};

use super::documents::Complaint;
use super::output::output;
use super::status::Problem;

/// How several answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"result": …}` or `{"error": …}`, a line each.
    Lines,
    /// Server-sent events with ids; an error is an event `error`.
    Events,
    /// One document.
    Array,
}

/// A connection on which nothing is said for so long gets a comment, so that nobody takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

impl Form {
    /// What the client accepts: events if it names them, an array if it wants JSON and nothing else; lines otherwise.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let names = |kind: &str| {
            accept
                .split(',')
                .any(|one| one.split(';').next().is_some_and(|one| one.trim().eq_ignore_ascii_case(kind)))
        };
        match () {
            () if names("text/event-stream") => Self::Events,
            () if names("application/x-ndjson") => Self::Lines,
            () if names("application/json") && !names("*/*") => Self::Array,
            () => Self::Lines,
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Array => "application/json",
        }
    }
}

/// The body of such a response.
pub(super) struct Several {
    answers: Streaming<DynamicMessage>,
    complaint: Complaint,
    response_body: String,
    pool: DescriptorPool,
    form: Form,
    written: usize,
    ended: bool,
    heartbeat: Pin<Box<Sleep>>,
}

impl Several {
    pub(super) fn new(
        answers: Streaming<DynamicMessage>,
        complaint: Complaint,
        response_body: String,
        pool: DescriptorPool,
        form: Form,
    ) -> Self {
        let heartbeat = Box::pin(sleep(HEARTBEAT));
        Self { answers, complaint, response_body, pool, form, written: 0, ended: false, heartbeat }
    }

    /// What is written of `answer`, the next or the end.
    fn write(&mut self, answer: Option<Result<DynamicMessage, Status>>) -> Option<Bytes> {
        let answer = answer.map(|answer| answer.and_then(|message| output(&message, &self.response_body)));
        let first = self.written == 0;
        self.written += 1;
        let text = match (self.form, answer) {
            (Form::Array, None) => if first { "[]" } else { "]" }.to_owned(),
            (_, None) => return None,
            (form, Some(Ok(output))) => {
                let json = String::from_utf8_lossy(&output.data);
                match form {
                    Form::Lines => format!("{{\"result\":{json}}}\n"),
                    Form::Events => format!("id: {}\ndata: {json}\n\n", self.written),
                    Form::Array => format!("{}{json}", if first { "[" } else { "," }),
                }
            }
            (form, Some(Err(status))) => {
                self.ended = true;
                metrics::counter!("micro_gateway_transcode_errors_total").increment(1);
                let problem = Problem::new(&status, Some(&self.pool));
                let json = problem.json();
                match form {
                    Form::Lines => format!("{{\"error\":{json}}}\n"),
                    Form::Events => format!("event: error\ndata: {json}\n\n"),
                    Form::Array => format!("{}{{\"error\":{json}}}]", if first { "[" } else { "," }),
                }
            }
        };
        Some(text.into())
    }
}

impl Body for Several {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(why) = self.complaint.poll(cx) {
            return Poll::Ready(self.write(Some(Err(why))).map(|text| Ok(Frame::data(text))));
        }
        match self.answers.poll_next_unpin(cx) {
            Poll::Ready(answer) => {
                self.ended = answer.is_none();
                self.heartbeat.as_mut().reset(Instant::now() + HEARTBEAT);
                Poll::Ready(self.write(answer).map(|text| Ok(Frame::data(text))))
            }
            Poll::Pending if self.form == Form::Events => {
                ready!(self.heartbeat.as_mut().poll(cx));
                self.heartbeat.as_mut().reset(Instant::now() + HEARTBEAT);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
