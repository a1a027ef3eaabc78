//! An endpoint that speaks go-micro's RPC over HTTP/1: gRPC requests become its messages, its answers a gRPC
//! response.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    FutureExt as _, StreamExt as _,
    stream::{BoxStream, unfold},
};
use http::{HeaderValue, Request, Response, header};
use http_body::Frame;
use micro_balance::Unsent;
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::Status;
use tower::BoxError;

use super::{body::Body, connect::Connector, io::Io, request::RequestBody, target::Target};
use crate::{
    codec::frame::{self, Frames},
    error::{Error, Phase},
    fault::Fault,
    gomicro::{
        LONGEST, Message,
        ask::{self, Ask, Dialect},
        http1::{self, Reader, Side, Start},
    },
    status::trailers,
};

/// What this client calls itself.
const AGENT: &str = concat!("micro/", env!("CARGO_PKG_VERSION"));

/// The connections of an endpoint, and how it is spoken to.
pub(super) struct GoMicro {
    dialect: Dialect,
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
    max_idle: usize,
    idle_timeout: Duration,
    calls: AtomicU64,
}

struct Idle {
    connection: Open,
    since: Instant,
}

/// A connection, for one call at a time.
enum Open {
    Http { reader: Reader<ReadHalf<Io>>, write: WriteHalf<Io> },
}

impl Open {
    fn http(io: Io) -> Self {
        let (read, write) = tokio::io::split(io);
        Self::Http { reader: Reader::new(read, BytesMut::new(), Side::Server), write }
    }

    async fn send(&mut self, target: &Target, message: &Message) -> io::Result<()> {
        match self {
            Self::Http { write, .. } => {
                write.write_all(&http1::request(target.authority(), AGENT, message)).await
            }
        }
    }

    /// The next answer, or the HTTP status in its place. Dropping the future loses nothing.
    async fn next(&mut self) -> io::Result<Option<Result<Message, Fault>>> {
        match self {
            Self::Http { reader, .. } => Ok(reader.next().await?.map(|(head, message)| match head.start {
                Start::Response(status) if !status.is_success() => {
                    Err(Fault::from_http(status, String::from_utf8_lossy(&message.body).trim()))
                }
                _ => Ok(message),
            })),
        }
    }

    /// Whether nothing was heard since the last answer: not its end, and nothing that nobody asked for.
    fn is_quiet(&mut self) -> bool {
        match self {
            Self::Http { reader, .. } => {
                let mut heard = pin!(reader.head());
                heard.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            }
        }
    }
}

impl GoMicro {
    pub(super) fn new(dialect: Dialect, settings: &Connector) -> Self {
        Self {
            dialect,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(settings.http1_max_connections.min(Semaphore::MAX_PERMITS))),
            max_idle: settings.http1_max_idle,
            idle_timeout: settings.http1_idle_timeout,
            calls: AtomicU64::new(0),
        }
    }

    pub(super) fn put(&self, io: Io) {
        self.keep(Open::http(io));
    }

    fn keep(&self, connection: Open) {
        let mut idle = self.idle();
        if self.max_idle > 0 {
            if idle.len() >= self.max_idle {
                idle.remove(0);
            }
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn take(&self) -> Option<Open> {
        let mut idle = self.idle();
        while let Some(Idle { mut connection, since }) = idle.pop() {
            if since.elapsed() < self.idle_timeout && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the call that `request` is in gRPC. `unreachable` is called when no connection can be had; the error
    /// then hands the request back.
    pub(super) async fn send<B: RequestBody>(
        self: Arc<Self>,
        settings: Arc<Connector>,
        target: Target,
        request: Request<B>,
        unreachable: impl FnOnce() + Send,
    ) -> Result<Response<Body>, BoxError> {
        let permit = self.permits.clone().acquire_owned().await?;
        let declared = ask::is_stream(request.headers());
        let connection = match if declared { None } else { self.take() } {
            Some(connection) => connection,
            None => match open(&settings, &target).await {
                Ok(connection) => connection,
                Err(error) => {
                    unreachable();
                    let error = target.name().blame(Error::not_sent(Phase::Connect, error));
                    return Err(Unsent::new(request, error).into());
                }
            },
        };
        let service = settings.service.as_deref().unwrap_or_default();
        let (head, body) = request.into_parts();
        let mut requests = Frames::new(body, LONGEST);
        let first = requests.next().await.transpose()?;
        // What has said all at once is no stream, unless it says so.
        let rest = if declared { Some(None) } else { requests.next().now_or_never() };
        let stream = !matches!(rest, Some(None)) || declared;
        let seq = self.calls.fetch_add(1, Relaxed);
        let Some(ask) = Ask::new(self.dialect, service, head.uri.path(), &head.headers, seq, stream) else {
            return Ok(refusal(&Status::unimplemented("the path names no method")));
        };
        let json = head.headers.get(header::CONTENT_TYPE).cloned();
        let call = Call { home: self, target, ask, connection, _permit: permit };
        if !stream {
            return call.unary(first.unwrap_or_default(), json).await;
        }
        let second = rest.flatten().transpose()?;
        let early = first.into_iter().chain(second).collect();
        call.stream(early, requests, json).await
    }
}

async fn open(settings: &Connector, target: &Target) -> Result<Open, BoxError> {
    let (io, _) = tokio::time::timeout(settings.connect_timeout, settings.dial(target)).await??;
    Ok(Open::http(io))
}

/// A call, and the connection it has for itself.
struct Call {
    home: Arc<GoMicro>,
    target: Target,
    ask: Ask,
    connection: Open,
    _permit: OwnedSemaphorePermit,
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
            Err(error) => Err(self.broken(Phase::Wait, error)),
        }
    }

    async fn unary(
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

    async fn stream<B: RequestBody>(
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

fn refusal(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.headers_mut() = trailers(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
