//! The messages of a request's body, for methods that take several: a JSON document per line, read as they come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::Method;
use http_body::Body as _;
use prost_reflect::DynamicMessage;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;

use super::input::{Input, message};
use super::route::Found;
use crate::lines::Lines;

/// Makes messages of lines. One that is none ends the call: what the service has heard until then is not all there was to
/// say, so its stream is left open, and [`Complaint`] tells.
pub(super) struct Documents {
    body: Body,
    lines: Lines,
    line: usize,
    most_bytes: usize,
    found: Found,
    verb: Method,
    query: String,
    ended: bool,
    complain: Option<oneshot::Sender<Status>>,
}

/// Hears why a body is no stream of messages, if it is none.
pub(super) struct Complaint(Option<oneshot::Receiver<Status>>);

impl Documents {
    /// Lines of `body` as messages of the method `found`, each of `most_bytes` at most.
    pub(super) fn new(
        found: Found,
        verb: Method,
        query: &str,
        body: Body,
        most_bytes: usize,
    ) -> (Self, Complaint) {
        let (complain, complaint) = oneshot::channel();
        let documents = Self {
            body,
            lines: Lines::default(),
            line: 0,
            most_bytes,
            found,
            verb,
            query: query.to_owned(),
            ended: false,
            complain: Some(complain),
        };
        (documents, Complaint(Some(complaint)))
    }

    /// The next line that was read whole, or the last one, if there is one.
    fn line(&mut self) -> Option<Bytes> {
        let line = match self.lines.next() {
            None if self.ended => self.lines.rest(),
            line => line,
        };
        self.line += usize::from(line.is_some());
        line
    }

    fn message(&self, line: &[u8]) -> Result<DynamicMessage, Status> {
        let input = Input { verb: &self.verb, query: &self.query, kind: "application/json", body: line };
        message(&self.found, &input)
            .map_err(|error| Status::invalid_argument(format!("line {}: {error}", self.line)))
    }

    /// Says why, and never anything more.
    fn give_up(&mut self, why: Status) -> Poll<Option<DynamicMessage>> {
        if let Some(complain) = self.complain.take() {
            // Nobody waits for it where the call is over.
            let _ = complain.send(why);
        }
        Poll::Pending
    }
}

impl Stream for Documents {
    type Item = DynamicMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DynamicMessage>> {
        if self.complain.is_none() {
            return Poll::Pending;
        }
        loop {
            while let Some(line) = self.line() {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return match self.message(&line) {
                    Ok(message) => Poll::Ready(Some(message)),
                    Err(why) => self.give_up(why),
                };
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.lines.len() > self.most_bytes {
                let why = format!("line {} is longer than {} bytes", self.line + 1, self.most_bytes);
                return self.give_up(Status::resource_exhausted(why));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.lines.push(&data);
                    }
                }
                Some(Err(error)) => {
                    return self.give_up(Status::cancelled(format!("the body broke off: {error}")));
                }
                None => self.ended = true,
            }
        }
    }
}

impl Complaint {
    /// Of a body that can be read.
    pub(super) fn never() -> Self {
        Self(None)
    }

    /// Why the body is none, once that is known.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(complaint) = &mut self.0 else { return Poll::Pending };
        match ready!(Pin::new(complaint).poll(cx)) {
            Ok(why) => Poll::Ready(why),
            // All was read and well.
            Err(_) => {
                self.0 = None;
                Poll::Pending
            }
        }
    }

    /// Does `work`, unless the body turns out to be none.
    pub(super) async fn unless<T>(
        &mut self,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            done = work => done,
            why = std::future::poll_fn(|cx| self.poll(cx)) => Err(why),
        }
    }
}

/// Whether a body of this type has a document in each line.
pub(super) fn is_lines(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
        .iter()
        .any(|lines| kind.eq_ignore_ascii_case(lines))
}

/// The documents of a body that was read whole: those in an array, or one behind the other.
pub(super) fn documents(body: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body),
        _ => serde_json::Deserializer::from_slice(body).into_iter().collect(),
    }
}
