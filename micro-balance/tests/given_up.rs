//! A request that is given up after any number of polls, or its answer after any number of frames, leaves nothing behind in any
//! layer or in the balancer, and has paid for what was sent and no more. Time is paused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use micro_balance::{
    Balance, Ejection, Http, Tried, Unsent,
    breaker::BreakerLayer,
    failfast::FailfastLayer,
    hedge::HedgeLayer,
    limit::{Aimd, LimitLayer},
    policy::RoundRobin,
    retry::{Backoff, Budget, RetryLayer},
    throttle::ThrottleLayer,
    timeout::{IdleTimeoutLayer, TimeoutLayer},
};
use tokio::{task::yield_now, time::sleep};
use tokio_test::task;
use tower::{BoxError, ServiceBuilder, ServiceExt, discover::ServiceList};
use tower_service::Service;

const MS: Duration = Duration::from_millis(1);

/// Frames with a pause before each.
#[derive(Default)]
struct Halting {
    frames: VecDeque<Frame<Bytes>>,
    paused: bool,
}

impl Body for Halting {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(Ok))
    }
}

/// Is ready when it is asked the second time, and answers by turns in every way there is, a few polls later.
struct Halts {
    calls: Arc<AtomicUsize>,
    asked: usize,
}

impl Clone for Halts {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone(), asked: 0 }
    }
}

impl<B: Send + 'static> Service<Request<B>> for Halts {
    type Response = Response<Halting>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Halting>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.asked += 1;
        if self.asked > 1 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.asked) > 1, "called without being ready");
        let turn = self.calls.fetch_add(1, Relaxed);
        Box::pin(async move {
            for _ in 0..turn % 3 {
                sleep(MS).await;
            }
            yield_now().await;
            let mut body = Halting::default();
            let code = [14, 0][turn % 2];
            let trailers = [("grpc-status".parse().unwrap(), code.into())].into_iter().collect();
            let answer = Response::builder().header("content-type", "application/grpc");
            match turn % 5 {
                0 => return Err("reset by peer".into()),
                1 => return Err(Unsent::new(request, "going away").into()),
                2 => body.frames.extend([Frame::trailers(trailers)]),
                3 => body.frames.extend([Frame::data("message".into()), Frame::trailers(trailers)]),
                _ => sleep(4 * MS).await,
            }
            Ok(answer.body(body).unwrap())
        })
    }
}

fn request() -> Request<Halting> {
    let frames = [Frame::data("all there is".into())].into();
    Request::get("/").extension(Tried::default()).body(Halting { frames, paused: false }).unwrap()
}

/// Polls a request so often, and its answer as often as is left; says whether anything is left after that.
async fn give_up<S, C>(service: S, mut polls: usize) -> bool
where
    S: Service<Request<Halting>, Response = Response<C>>,
    C: Body,
{
    let mut call = task::spawn(service.oneshot(request()));
    let answer = loop {
        let Some(left) = polls.checked_sub(1) else { return false };
        polls = left;
        match call.poll() {
            Poll::Pending => sleep(MS / 2).await,
            Poll::Ready(answer) => break answer,
        }
    };
    let Ok(answer) = answer else { return polls > 0 };
    let mut body = task::spawn(answer.into_body());
    while polls > 0 {
        polls -= 1;
        match body.enter(|cx, body| body.poll_frame(cx)) {
            Poll::Pending => sleep(MS / 2).await,
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(_) => return true,
        }
    }
    false
}

fn balance<B>(calls: &Arc<AtomicUsize>) -> Balance<Halts, Request<B>, RoundRobin, Http>
where
    B: Send + 'static,
{
    let endpoints = vec![Halts { calls: calls.clone(), asked: 0 }; 3];
    let list = ServiceList::new::<Request<B>>(endpoints);
    Balance::builder(list)
        .protocol(Http)
        .policy(RoundRobin::starting_at(0))
        .ejection(Ejection::off())
        .seed(7)
        .build()
}

#[tokio::test(start_paused = true)]
async fn whenever_a_request_is_given_up_nothing_of_it_is_left() {
    let failfast = FailfastLayer::new(50 * MS);
    let limit = LimitLayer::new(2).queue(1, 20 * MS).http();
    let adaptive = LimitLayer::adaptive(Aimd::default()).window(Duration::ZERO).http();
    let budget = Budget::concurrent(0.0, 3).unwrap();
    let balance = balance(&Arc::default());
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(100 * MS))
        .layer(IdleTimeoutLayer::new(100 * MS))
        .layer(&limit)
        .layer(&adaptive)
        .layer(HedgeLayer::after(2 * MS).attempts(3).budget(budget.clone()))
        .layer(RetryLayer::new().budget(budget.clone()).seed(7))
        .layer(BreakerLayer::new().seed(7).backoff(Backoff::constant(3 * MS)).http())
        .layer(ThrottleLayer::new().http().window(20 * MS).seed(7))
        .layer(&failfast)
        .layer(TimeoutLayer::per_attempt(15 * MS))
        .service(balance.clone());
    sleep(5 * MS).await;
    let mut ended = 0;
    for polls in (0..80).flat_map(|polls| [polls; 30]) {
        // Of three at once one has to wait for its turn.
        let all = [polls, polls / 2, polls + 1].map(|polls| give_up(service.clone(), polls));
        ended += futures_util::future::join_all(all).await.into_iter().filter(|ended| *ended).count();
        let left = (failfast.waiting(), limit.in_flight(), limit.waiting(), adaptive.in_flight());
        assert_eq!((left, budget.balance()), ((0, 0, 0, 0), 3), "after {polls} polls");
        let busy: Vec<_> = balance.endpoints().iter().map(|view| view.in_flight).collect();
        assert_eq!(busy, [0; 3], "after {polls} polls");
    }
    assert!((1_000..7_000).contains(&ended), "{ended} of 7200 came to an end");
}

#[tokio::test(start_paused = true)]
async fn whenever_a_request_is_given_up_it_has_paid_for_what_was_sent() {
    for hedges in [false, true] {
        let calls = Arc::new(AtomicUsize::new(0));
        let budget = Budget::new(0.0, 1_000, Duration::from_secs(60)).unwrap();
        let mut paid = 0;
        for (number, polls) in (0..40).flat_map(|polls| [polls; 20]).enumerate() {
            let inner = Halts { calls: calls.clone(), asked: 0 };
            let (first, had) = (number + polls, budget.balance());
            calls.store(first, Relaxed);
            if hedges {
                let layer = HedgeLayer::after(2 * MS).attempts(3).budget(budget.clone());
                give_up(ServiceBuilder::new().layer(layer).service(inner), polls).await;
            } else {
                let layer = RetryLayer::new().budget(budget.clone()).seed(7);
                give_up(ServiceBuilder::new().layer(layer).service(inner), polls).await;
            }
            let sent = first..calls.load(Relaxed);
            // What is handed back is sent again by a retry layer for nothing.
            let free = |turn: &usize| !hedges && turn % 5 == 1;
            let again = sent.clone().take(sent.len().saturating_sub(1)).filter(|turn| !free(turn)).count();
            assert_eq!(had - budget.balance(), again as u64, "{sent:?} within {polls} polls");
            paid += again;
        }
        assert!(paid > 40, "{paid} of 800");
    }
}
