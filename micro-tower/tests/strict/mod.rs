//! A service that does not forgive: it panics when it is called unready, and its clones are never ready.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use http::{Request, Response};
use tokio::sync::oneshot;
use tonic::body::Body;
use tower::{BoxError, Service};

/// What the service has seen, shared by its clones.
#[derive(Default)]
pub struct Seen {
    pub calls: AtomicUsize,
    /// Futures that were dropped before they were answered.
    pub dropped: AtomicUsize,
    pub requests: Mutex<Vec<Request<Body>>>,
    answers: Mutex<Vec<oneshot::Sender<Response<Body>>>>,
}

impl Seen {
    pub fn answer(&self, response: Response<Body>) {
        let answer = self.answers.lock().unwrap().remove(0);
        let _ = answer.send(response);
    }

    pub fn header(&self, call: usize, name: &str) -> Option<String> {
        let requests = self.requests.lock().unwrap();
        Some(requests[call].headers().get(name)?.to_str().unwrap().to_owned())
    }
}

/// Answers when the test says so.
pub struct Strict<E = BoxError> {
    pub seen: Arc<Seen>,
    ready: bool,
    polled: bool,
    error: std::marker::PhantomData<fn() -> E>,
}

impl<E> Default for Strict<E> {
    fn default() -> Self {
        Self { seen: Arc::default(), ready: false, polled: false, error: std::marker::PhantomData }
    }
}

impl<E> Clone for Strict<E> {
    fn clone(&self) -> Self {
        Self { seen: self.seen.clone(), ..Self::default() }
    }
}

impl<E> Service<Request<Body>> for Strict<E> {
    type Response = Response<Body>;
    type Error = E;
    type Future = Answer<E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        // Never ready at first.
        if !std::mem::replace(&mut self.polled, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer<E> {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.polled = false;
        self.seen.calls.fetch_add(1, SeqCst);
        self.seen.requests.lock().unwrap().push(request);
        let (sender, receiver) = oneshot::channel();
        self.seen.answers.lock().unwrap().push(sender);
        Answer { receiver, seen: self.seen.clone(), answered: false, error: std::marker::PhantomData }
    }
}

pub struct Answer<E> {
    receiver: oneshot::Receiver<Response<Body>>,
    seen: Arc<Seen>,
    answered: bool,
    error: std::marker::PhantomData<fn() -> E>,
}

impl<E> Future for Answer<E> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.answered, "polled after its answer");
        let answer = std::task::ready!(Pin::new(&mut self.receiver).poll(cx)).expect("the test answers");
        self.answered = true;
        Poll::Ready(Ok(answer))
    }
}

impl<E> Drop for Answer<E> {
    fn drop(&mut self) {
        if !self.answered {
            self.seen.dropped.fetch_add(1, SeqCst);
        }
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    pub fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (wakes.clone(), Waker::from(wakes))
    }

    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}
