//! Services of every whim under all layers at once, given up at any moment: nothing is called that is not ready, and nothing is
//! left behind. Time is paused, and a seed is one run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod scripted;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use micro_balance::{
    Chance, NotSent, Tried,
    breaker::{BreakerLayer, State},
    failfast::FailfastLayer,
    hedge::HedgeLayer,
    limit::{Aimd, LimitLayer},
    retry::{Backoff, Budget, RetryLayer},
    throttle::ThrottleLayer,
    timeout::TimeoutLayer,
};
use scripted::Frames;
use tokio::time::{sleep, timeout};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_service::Service;

fn ms(n: usize) -> Duration {
    Duration::from_millis(n as u64)
}

/// Does what chance says.
struct Whims {
    chance: Arc<Mutex<Chance>>,
    calm: Arc<std::sync::atomic::AtomicBool>,
    ready: bool,
}

impl Clone for Whims {
    fn clone(&self) -> Self {
        Self { chance: self.chance.clone(), calm: self.calm.clone(), ready: false }
    }
}

impl Whims {
    fn below(&self, most: usize) -> usize {
        self.chance.lock().unwrap().below(most)
    }

    fn is_calm(&self) -> bool {
        self.calm.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl<B: Send + 'static> Service<Request<B>> for Whims {
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Frames>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.below(10) {
            0 if !self.is_calm() => Poll::Ready(Err("closed".into())),
            1..4 if !self.is_calm() => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => {
                self.ready = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let (whim, after) = if self.is_calm() { (9, 1) } else { (self.below(10), self.below(20)) };
        Box::pin(async move {
            let _request = request;
            sleep(ms(after)).await;
            let grpc = |code: u16| {
                let mut body = Frames::default();
                let trailers = [("grpc-status".parse().unwrap(), code.into())].into_iter().collect();
                body.frames.push_back(Ok(Frame::trailers(trailers)));
                let mut response = Response::new(body);
                response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                response
            };
            match whim {
                0 => Err("reset by peer".into()),
                1 => Err(NotSent::new("refused").into()),
                2 => std::future::pending().await,
                3 => Ok(Response::builder().status(503).body(Frames::default()).unwrap()),
                4 => Ok(grpc(14)),
                5 => Ok(grpc(0)),
                6 => Ok(Response::new(Frames { open: true, ..Frames::default() })),
                _ => Ok(Response::new(Frames::default())),
            }
        })
    }
}

async fn run(seed: u64) {
    let chance = Arc::new(Mutex::new(Chance::new(seed)));
    let whims = Whims { chance, calm: Arc::default(), ready: false };
    let failfast = FailfastLayer::new(ms(50)).queue(4);
    let limit = LimitLayer::new(3).queue(2, ms(20)).http();
    let adaptive = LimitLayer::adaptive(Aimd::default()).window(Duration::ZERO).http();
    let breaker = BreakerLayer::new().seed(seed).backoff(Backoff::constant(ms(30))).http();
    let throttle = ThrottleLayer::new().http().window(ms(200)).seed(seed);
    let budget = Budget::concurrent(50.0, 2).unwrap();
    let hedge = HedgeLayer::after(ms(4)).attempts(3).budget(budget.clone());
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(ms(100)))
        .layer(hedge)
        .layer(RetryLayer::new().budget(budget.clone()).seed(seed))
        .layer(&breaker)
        .layer(&throttle)
        .layer(&failfast)
        .layer(&limit)
        .layer(&adaptive)
        .layer(TimeoutLayer::per_attempt(ms(15)))
        .service(whims.clone());
    let mut tasks = Vec::new();
    for number in 0..200 {
        let (service, patience, reads) = (service.clone(), ms(whims.below(120)), whims.below(3));
        let request = move || {
            let grpc = number % 2 == 0;
            let builder = if grpc {
                Request::post("/").header("content-type", "application/grpc")
            } else {
                Request::get("/")
            };
            builder.extension(Tried::default()).body(Frames::default()).unwrap()
        };
        tasks.push(tokio::spawn(timeout(patience, async move {
            if let Ok(response) = service.oneshot(request()).await
                && reads > 0
            {
                let _ = response.into_body().collect().await;
            }
        })));
        sleep(ms(whims.below(4))).await;
    }
    for task in tasks {
        if let Err(panicked) = task.await {
            panic!("seed {seed}: {panicked}");
        }
    }
    let left = (failfast.waiting(), limit.in_flight(), limit.waiting(), adaptive.in_flight());
    assert_eq!(left, (0, 0, 0, 0), "seed {seed}");
    // Once all is well, all goes well: nothing is held against anybody for ever.
    whims.calm.store(true, std::sync::atomic::Ordering::Relaxed);
    sleep(ms(1_000)).await;
    for _ in 0..20 {
        let get = Request::get("/").body(Frames::default()).unwrap();
        let _ = service.clone().oneshot(get).await;
        sleep(ms(50)).await;
    }
    assert_eq!((breaker.state(), throttle.rejection()), (State::Closed, 0.0), "seed {seed}");
    let get = Request::get("/").body(Frames::default()).unwrap();
    assert!(service.oneshot(get).await.is_ok(), "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn whatever_a_service_does_under_all_layers_nothing_is_left_of_requests_that_ended_anyhow() {
    for seed in 0..50 {
        run(seed).await;
    }
}
