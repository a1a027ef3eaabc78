//! A fake endpoint and a hand-driven discovery, for tests of the balancer.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

pub mod host;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{Request, Response};
use http_body_util::Empty;
use micro_balance::{Balance, Unsent, View, policy::Policy};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{BoxError, Service, ServiceExt, discover::Change};

/// How a fake endpoint behaves just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers after a while.
    Answers(Duration),
    /// Fails after a while.
    Fails(Duration),
    /// Takes requests and never answers.
    Silent,
    /// Hands every request back.
    HandsBack,
    /// Is never ready.
    Connecting,
    /// Cannot be connected.
    Refuses,
}

pub const FAST: Mood = Mood::Answers(Duration::ZERO);

#[derive(Debug)]
struct Inner {
    mood: Mood,
    asked: usize,
    calls: usize,
    busy: usize,
    busiest: usize,
    wakers: Vec<Waker>,
}

/// An endpoint that panics when it is called unready, and whose clones are not ready.
#[derive(Debug)]
pub struct Fake {
    name: &'static str,
    ready: bool,
    inner: Arc<Mutex<Inner>>,
}

impl Fake {
    pub fn new(name: &'static str, mood: Mood) -> Self {
        let inner = Inner { mood, asked: 0, calls: 0, busy: 0, busiest: 0, wakers: Vec::new() };
        Self { name, ready: false, inner: Arc::new(Mutex::new(inner)) }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn set(&self, mood: Mood) {
        let mut inner = self.inner.lock().unwrap();
        inner.mood = mood;
        inner.wakers.drain(..).for_each(Waker::wake);
    }

    /// How many clones of it there are.
    pub fn clones(&self) -> usize {
        Arc::strong_count(&self.inner) - 1
    }

    /// How often it was asked whether it is ready.
    pub fn asked(&self) -> usize {
        self.inner.lock().unwrap().asked
    }

    pub fn calls(&self) -> usize {
        self.inner.lock().unwrap().calls
    }

    /// Forgets what it was asked so far, and gives the number of calls.
    pub fn take_calls(&self) -> usize {
        std::mem::take(&mut self.inner.lock().unwrap().calls)
    }

    /// How many requests it had at once, at most, since this was asked last.
    pub fn take_busiest(&self) -> usize {
        let mut inner = self.inner.lock().unwrap();
        let busy = inner.busy;
        std::mem::replace(&mut inner.busiest, busy)
    }
}

impl Clone for Fake {
    fn clone(&self) -> Self {
        Self { name: self.name, ready: false, inner: self.inner.clone() }
    }
}

/// Counts a request as busy until it is dropped.
struct Busy(Arc<Mutex<Inner>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Ok(mut inner) = self.0.lock() {
            inner.busy -= 1;
        }
    }
}

impl<Req: Send + 'static> Service<Req> for Fake {
    type Response = &'static str;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<&'static str, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut inner = self.inner.lock().unwrap();
        inner.asked += 1;
        match inner.mood {
            Mood::Connecting => {
                inner.wakers.push(cx.waker().clone());
                Poll::Pending
            }
            Mood::Refuses => Poll::Ready(Err(format!("{} refused the connection", self.name).into())),
            _ => {
                self.ready = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "{} was called without being ready", self.name);
        let mut inner = self.inner.lock().unwrap();
        inner.calls += 1;
        inner.busy += 1;
        inner.busiest = inner.busiest.max(inner.busy);
        let (mood, name, busy) = (inner.mood, self.name, Busy(self.inner.clone()));
        Box::pin(async move {
            let _busy = busy;
            match mood {
                Mood::Answers(after) => {
                    if !after.is_zero() {
                        sleep(after).await;
                    }
                    Ok(name)
                }
                Mood::Fails(after) => {
                    if !after.is_zero() {
                        sleep(after).await;
                    }
                    Err(format!("{name} failed").into())
                }
                Mood::HandsBack => Err(Unsent::new(request, format!("{name} is going away")).into()),
                Mood::Silent | Mood::Connecting | Mood::Refuses => std::future::pending().await,
            }
        })
    }
}

pub type Changes = UnboundedReceiverStream<Result<Change<&'static str, Fake>, Infallible>>;

/// The hand that drives a discovery.
#[derive(Clone, Debug)]
pub struct Hand(mpsc::UnboundedSender<Result<Change<&'static str, Fake>, Infallible>>);

pub fn discovery() -> (Hand, Changes) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Hand(sender), UnboundedReceiverStream::new(receiver))
}

impl Hand {
    pub fn insert(&self, name: &'static str, fake: &Fake) {
        self.0.send(Ok(Change::Insert(name, fake.clone()))).unwrap();
    }

    pub fn remove(&self, name: &'static str) {
        self.0.send(Ok(Change::Remove(name))).unwrap();
    }
}

/// Fakes by these names, announced in a discovery that stays open as long as the hand.
pub fn fakes<const N: usize>(names: [&'static str; N], mood: Mood) -> ([Fake; N], Hand, Changes) {
    let (hand, changes) = discovery();
    let fakes = names.map(|name| Fake::new(name, mood));
    for (name, fake) in names.iter().zip(&fakes) {
        hand.insert(name, fake);
    }
    (fakes, hand, changes)
}

/// An HTTP service of a fake.
#[derive(Clone)]
pub struct Page(pub Fake);

impl Service<Request<()>> for Page {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<()>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let answer = Service::<()>::call(&mut self.0, ());
        Box::pin(async move { Ok(Response::builder().header("from", answer.await?).body(Empty::new())?) })
    }
}

/// The same discovery, of HTTP services.
pub fn pages(changes: Changes) -> impl Stream<Item = Result<Change<&'static str, Page>, Infallible>> + Unpin {
    changes.map(|change| {
        change.map(|change| match change {
            Change::Insert(name, fake) => Change::Insert(name, Page(fake)),
            Change::Remove(name) => Change::Remove(name),
        })
    })
}

/// How many answers each endpoint gave.
pub fn count<'a>(answers: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

/// What is to be seen of an endpoint.
pub fn view<P: Policy>(balance: &Balance<Fake, (), P>, id: &str) -> View {
    balance.endpoints().into_iter().find(|view| *view.id == *id).unwrap()
}

/// How many of so many requests an endpoint answers.
pub async fn share<P: Policy>(balance: &Balance<Fake, (), P>, id: &str, requests: usize) -> usize {
    let mut answers = Vec::new();
    for _ in 0..requests {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    count(answers).get(id).copied().unwrap_or(0)
}

/// Lets the balancer's own task see to what has happened, and its millisecond of batching pass.
pub async fn settle() {
    sleep(Duration::from_millis(5)).await;
}
