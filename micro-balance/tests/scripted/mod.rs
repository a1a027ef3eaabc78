//! A service that answers by a script and insists on the contract of tower.
//!
//! It panics when it is called without having been ready, and a clone of a ready service is not ready.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::BoxError;
use tower_service::Service;

/// What the service does with one request.
pub(crate) enum Answer {
    /// Reads the whole body and answers.
    Respond(Response<Frames>),
    /// Answers before it has read anything of the body.
    RespondEarly(Response<Frames>),
    /// Reads the whole body and fails.
    Fail(BoxError),
    /// Fails before it has read anything of the body.
    FailEarly(BoxError),
    /// Answers 200 after this time.
    Wait(std::time::Duration),
    /// Answers after this time.
    Late(std::time::Duration, Response<Frames>),
    /// Never answers.
    Hang,
}

/// What one attempt looked like.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: http::Extensions,
    pub(crate) body: Arc<Mutex<Vec<u8>>>,
    pub(crate) at: tokio::time::Instant,
}

impl Attempt {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Scripted {
    shared: Arc<Shared>,
    ready: bool,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    attempts: Mutex<Vec<Attempt>>,
    /// Attempts whose answer is neither given nor given up.
    open: Arc<()>,
    /// How often `poll_ready` is to be pending.
    busy: Mutex<u32>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), ready: false }
    }
}

impl Scripted {
    pub(crate) fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        let this = Self::default();
        this.shared.script.lock().unwrap().extend(script);
        this
    }

    pub(crate) fn push(&self, answer: Answer) {
        self.shared.script.lock().unwrap().push_back(answer);
    }

    /// Drops what is left of the script.
    pub(crate) fn forget(&self) {
        self.shared.script.lock().unwrap().clear();
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.shared.attempts.lock().unwrap().clone()
    }

    pub(crate) fn open(&self) -> usize {
        Arc::strong_count(&self.shared.open) - 1
    }

    pub(crate) fn be_busy(&self, times: u32) {
        *self.shared.busy.lock().unwrap() = times;
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<B> Service<Request<B>> for Scripted
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Response<Frames>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut busy = self.shared.busy.lock().unwrap();
        if *busy > 0 {
            *busy -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        let (parts, mut body) = request.into_parts();
        let read = Arc::<Mutex<Vec<u8>>>::default();
        let answer = {
            let mut attempts = self.shared.attempts.lock().unwrap();
            attempts.push(Attempt {
                method: parts.method,
                uri: parts.uri,
                headers: parts.headers,
                extensions: parts.extensions,
                body: read.clone(),
                at: tokio::time::Instant::now(),
            });
            self.shared.script.lock().unwrap().pop_front().expect("one attempt more than the script foresees")
        };
        let open = self.shared.open.clone();
        Box::pin(async move {
            let _open = open;
            if !matches!(answer, Answer::RespondEarly(_) | Answer::FailEarly(_)) {
                while let Some(frame) = body.frame().await {
                    match frame.map_err(Into::into)?.into_data() {
                        Ok(data) => read.lock().unwrap().extend_from_slice(&data),
                        Err(trailers) => {
                            let trailers = trailers.into_trailers().unwrap();
                            read.lock().unwrap().extend(format!("|{trailers:?}").bytes());
                        }
                    }
                }
            }
            match answer {
                Answer::Respond(response) | Answer::RespondEarly(response) => Ok(response),
                Answer::Fail(error) | Answer::FailEarly(error) => Err(error),
                Answer::Wait(time) => {
                    tokio::time::sleep(time).await;
                    Ok(Response::new(Frames::default()))
                }
                Answer::Late(time, response) => {
                    tokio::time::sleep(time).await;
                    Ok(response)
                }
                Answer::Hang => std::future::pending().await,
            }
        })
    }
}

/// A body of given frames; pending after them if it is `open`, until it `breaks`.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) frames: VecDeque<Result<Frame<Bytes>, BoxError>>,
    pub(crate) open: bool,
    pub(crate) breaks: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames.pop_front() {
            None if self.open => {
                let Some(breaks) = &mut self.breaks else { return Poll::Pending };
                breaks.as_mut().poll(cx).map(|()| Some(Err("reset by peer".into())))
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.open
    }
}

pub(crate) fn frames(texts: &[&'static str]) -> Frames {
    Frames {
        frames: texts.iter().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))).collect(),
        ..Frames::default()
    }
}

pub(crate) fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

/// An HTTP answer without a body.
pub(crate) fn status(status: u16, pairs: &[(&'static str, &str)]) -> Answer {
    Answer::Respond(empty(status, pairs))
}

/// An answer without a body, after some time.
pub(crate) fn late(after: std::time::Duration, status: u16, pairs: &[(&'static str, &str)]) -> Answer {
    Answer::Late(after, empty(status, pairs))
}

fn empty(status: u16, pairs: &[(&'static str, &str)]) -> Response<Frames> {
    let mut response = Response::new(Frames::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = headers(pairs);
    response
}

fn grpc_head(body: Frames) -> Response<Frames> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

/// A gRPC answer that is nothing but a status.
pub(crate) fn grpc(code: u16, pairs: &[(&'static str, &str)]) -> Answer {
    let mut response = grpc_head(Frames::default());
    response.headers_mut().extend(headers(pairs));
    response.headers_mut().insert("grpc-status", code.into());
    Answer::Respond(response)
}

/// A gRPC answer with messages, its status in the trailers.
pub(crate) fn grpc_trailers(messages: &[&'static str], code: u16, pairs: &[(&'static str, &str)]) -> Answer {
    let mut body = frames(messages);
    let mut trailers = headers(pairs);
    trailers.insert("grpc-status", code.into());
    body.frames.push_back(Ok(Frame::trailers(trailers)));
    Answer::Respond(grpc_head(body))
}

/// A gRPC answer whose first frame does not come.
pub(crate) fn grpc_silent() -> Answer {
    Answer::Respond(grpc_head(Frames { open: true, ..Frames::default() }))
}

/// The same, from an endpoint that has begun to answer before all of the request was there.
pub(crate) fn grpc_silent_early() -> Answer {
    Answer::RespondEarly(grpc_head(Frames { open: true, ..Frames::default() }))
}

/// A gRPC answer whose connection breaks, so long after its head.
pub(crate) fn grpc_broken(after: std::time::Duration) -> Answer {
    let breaks = Some(Box::pin(tokio::time::sleep(after)));
    Answer::Respond(grpc_head(Frames { open: true, breaks, ..Frames::default() }))
}

pub(crate) fn fail(error: impl Into<BoxError>) -> Answer {
    Answer::Fail(error.into())
}

/// A gRPC call with a body of these chunks.
pub(crate) fn call(chunks: &[&'static str]) -> Request<Frames> {
    Request::post("http://greeter/say.Hello")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(frames(chunks))
        .unwrap()
}

pub(crate) fn get(path: &str) -> Request<Frames> {
    Request::get(format!("http://greeter{path}")).body(Frames::default()).unwrap()
}

/// The bytes of a body and its trailers.
pub(crate) async fn collect<B>(body: B) -> (String, Option<HeaderMap>)
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (String::from_utf8(collected.to_bytes().to_vec()).unwrap(), trailers)
}
