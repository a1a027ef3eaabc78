//! One call: a gRPC request as go-micro's messages, and the answers as a gRPC response.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{BoxStream, unfold},
};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tower::BoxError;

use super::{GoMicro, open::Open};
use crate::{
    codec::frame::{self, Frames},
    error::{Error, Phase},
    fault::Fault,
    gomicro::ask::Ask,
    status::trailers,
    transport::{body::Body, request::RequestBody, target::Target},
};

/// A call, and the connection it has for itself.
pub(super) struct Call {
    pub(super) home: Arc<GoMicro>,
    pub(super) target: Target,
    pub(super) ask: Ask,
    pub(super) connection: Open,
    /// Held while the call lasts.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Call {
    fn broken(&self, phase: Phase, error: impl Into<BoxError>) -> BoxError {
        self.target.name().blame(Error::new(phase, error)).into()
    }

    /// The next answer.
    async fn next(&mut self) -> Result<Result<Option<Bytes>, Fault>, BoxError> {
        match self.connection.next().await {
            Ok(Some(answer)) => Ok(answer.and_then(|message| self.ask.answer(&message))),
            Ok(None) => Err(self.broken(Phase::Wait, io::Error::from(io::ErrorKind::UnexpectedEof))),
            // A broker knows that there was nobody to hear it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(self.target.name().blame(Error::not_sent(Phase::Send, error)).into())
            }
            Err(error) => Err(self.broken(Phase::Wait, error)),
        }
    }

    pub(super) async fn unary(
        mut self,
        payload: Bytes,
        format: Option<HeaderValue>,
    ) -> Result<Response<Body>, BoxError> {
        let message = match self.ask.message(&payload) {
            Ok(message) => message,
            Err(fault) => return Ok(refusal(&fault.into())),
        };
        if let Err(error) = self.connection.send(&self.target, &message).await {
            return Err(self.broken(Phase::Send, error));
        }
        let answer = self.next().await?;
        // An error of the method is no error of the connection.
        self.home.keep(self.connection);
        Ok(match answer {
            Ok(message) => {
                let message = frame::encode(&message.unwrap_or_default());
                let frames = [Frame::data(message), Frame::trailers(trailers(&Status::ok("")))];
                response(format, futures_util::stream::iter(frames.map(Ok)).boxed())
            }
            Err(fault) => refusal(&status_of(fault)),
        })
    }

    pub(super) async fn stream<B: RequestBody>(
        mut self,
        early: Vec<Bytes>,
        requests: Frames<B>,
        format: Option<HeaderValue>,
    ) -> Result<Response<Body>, BoxError> {
        let mut messages = vec![self.ask.opening()];
        messages.extend(early.iter().map(|payload| self.ask.message(payload)));
        for message in messages {
            let message = match message {
                Ok(message) => message,
                Err(fault) => return Ok(refusal(&fault.into())),
            };
            if let Err(error) = self.connection.send(&self.target, &message).await {
                return Err(self.broken(Phase::Send, error));
            }
        }
        let state = Some(Streaming { call: self, requests: Some(requests) });
        let frames = unfold(state, |state| async {
            let mut streaming = state?;
            match streaming.next().await {
                Ok(Ok(Some(message))) => Some((Ok(Frame::data(frame::encode(&message))), Some(streaming))),
                Ok(Ok(None)) => Some((Ok(Frame::trailers(trailers(&Status::ok("")))), None)),
                Ok(Err(fault)) => Some((Ok(Frame::trailers(trailers(&status_of(fault)))), None)),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(response(format, frames.boxed()))
    }
}

/// A stream under way.
struct Streaming<B> {
    call: Call,
    /// What is still to come from the caller.
    requests: Option<Frames<B>>,
}

impl<B: RequestBody> Streaming<B> {
    /// The next answer; hands on what the caller says meanwhile.
    async fn next(&mut self) -> Result<Result<Option<Bytes>, Fault>, BoxError> {
        loop {
            let Some(requests) = &mut self.requests else { return self.call.next().await };
            let message = tokio::select! {
                answer = self.call.next() => return answer,
                message = requests.next() => message,
            };
            let message = match message {
                Some(Ok(payload)) => match self.call.ask.message(&payload) {
                    Ok(message) => Some(message),
                    Err(fault) => return Ok(Err(fault)),
                },
                Some(Err(status)) => return Ok(Err(status.into())),
                None => {
                    self.requests = None;
                    self.call.ask.end()
                }
            };
            if let Some(message) = message
                && let Err(error) = self.call.connection.send(&self.call.target, &message).await
            {
                return Err(self.call.broken(Phase::Send, error));
            }
        }
    }
}

/// go-micro's router speaks in plain text, without a code.
fn status_of(fault: Fault) -> Status {
    let text = fault.detail.clone();
    match fault.code {
        0 if text.starts_with("rpc: can't find ") || text.contains("request ill-formed") => {
            Status::unimplemented(text)
        }
        0 if text.contains("cannot decode request") => Status::invalid_argument(text),
        _ => fault.into(),
    }
}

fn response(
    format: Option<HeaderValue>,
    frames: BoxStream<'static, Result<Frame<Bytes>, BoxError>>,
) -> Response<Body> {
    let mut response = Response::new(Body::frames(frames));
    let format = format.unwrap_or_else(|| HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

pub(super) fn refusal(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.headers_mut() = trailers(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
