//! Endpoints that change their weight, zone, priority, labels and health, or leave, in the middle of attempts and hedges: whatever
//! the policy, no request is lost over it and none is counted for ever. Time is paused, and a seed is one run.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "support/policies.rs"]
mod policies;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use micro_balance::{
    Attributes, Balance, Chance, Ejection, HashKey, Http, Unsent,
    eligible::{
        Locality, Priority, SlowStart,
        locality::{Prefer, ZoneAware, ZoneWeights},
    },
    hedge::HedgeLayer,
    policy::Wanted,
    retry::{Backoff, Budget, RetryLayer},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{BoxError, ServiceBuilder, ServiceExt, discover::Change};
use tower_service::Service;

const MANY: usize = 8;

fn ms(n: usize) -> Duration {
    Duration::from_millis(n as u64)
}

/// Answers, but for one request in so many, which it refuses in one way or another.
#[derive(Clone)]
struct Fickle {
    refuses: Arc<AtomicU32>,
    chance: Arc<Chance>,
}

impl<B: Send + 'static> Service<Request<B>> for Fickle {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let refuses = self.chance.below(100) < self.refuses.load(Relaxed) as usize;
        let (how, after) = (self.chance.below(4), ms(self.chance.below(6)));
        Box::pin(async move {
            sleep(after).await;
            match how {
                0 if refuses => Err("reset by peer".into()),
                1 if refuses => Err(Unsent::new(request, "going away").into()),
                2 if refuses => std::future::pending().await,
                3 if refuses => Ok(Response::builder().status(503).body(Empty::new()).unwrap()),
                _ => Ok(Response::new(Empty::new())),
            }
        })
    }
}

/// What discovery may say of an endpoint. The first is always of the first priority, and takes something.
fn said(which: usize, chance: &Chance) -> Attributes {
    let mut attributes = Attributes {
        weight: [1, 2, 3, 100, 0][chance.below(5)],
        zone: [Some("a"), Some("b"), None][chance.below(3)].map(Into::into),
        priority: chance.below(3) as u32,
        degraded: chance.below(6) == 0,
        metadata: Arc::new([("version".to_owned(), chance.below(2).to_string())].into()),
    };
    if which == 0 {
        (attributes.weight, attributes.priority) = (attributes.weight.max(1), 0);
    }
    attributes
}

fn locality(n: usize) -> Locality {
    match n % 4 {
        0 => Locality::Any,
        1 => Locality::Prefer(Prefer::new("a")),
        2 => Locality::Weighted(ZoneWeights::new([("a", 1), ("b", 2)])),
        _ => Locality::ZoneAware(ZoneAware::new("a", [("a".to_owned(), 2), ("b".to_owned(), 2)].into())),
    }
}

async fn live(policy: &str, seed: usize) {
    let chance = Arc::new(Chance::new(seed as u64));
    let (changes, received) = mpsc::unbounded_channel();
    let table = Arc::new(Mutex::new([(); MANY].map(|()| Attributes::default())));
    let fickle: Vec<_> =
        (0..MANY).map(|_| Fickle { refuses: Arc::default(), chance: chance.clone() }).collect();
    let insert = |which: usize| {
        table.lock().unwrap()[which] = said(which, &chance);
        changes.send(Ok::<_, Infallible>(Change::Insert(which, fickle[which].clone()))).unwrap();
    };
    (0..MANY).for_each(insert);
    let describes = table.clone();
    let priority = if seed.is_multiple_of(2) { Priority::failover() } else { Priority::proportional() };
    let balance = Balance::builder(UnboundedReceiverStream::new(received))
        .protocol(Http)
        .configured(&policies::configured(policy))
        .ejection(Ejection::default().consecutive_failures(2).base(ms(20)).max(ms(40)))
        .priority(priority)
        .locality(locality(seed / 2))
        .slow_start(SlowStart::new(ms(50)))
        .drain(ms(seed % 3 * 10))
        .attributes(move |which: &usize, _: &Fickle| describes.lock().unwrap()[*which].clone())
        .seed(seed as u64)
        .build();
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::after(ms(4)).attempts(3).budget(Budget::endless()))
        .layer(RetryLayer::new().attempts(4).backoff(Backoff::constant(ms(1))).budget(Budget::endless()))
        .service(balance.clone());
    let mut requests = Vec::new();
    for number in 0..150 {
        let which = chance.below(MANY);
        match chance.below(6) {
            0 if which > 0 => changes.send(Ok(Change::Remove(which))).unwrap(),
            1 | 2 => insert(which),
            3 => fickle[which].refuses.store([0, 0, 30, 60][chance.below(4)], Relaxed),
            _ => {}
        }
        let mut request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        request.extensions_mut().insert(HashKey(number % 7));
        request.extensions_mut().insert(Wanted::new([("version", (number % 2).to_string())]));
        let (service, gives_up) = (service.clone(), number % 10 == 9);
        requests.push(tokio::spawn(async move {
            if gives_up {
                let _ = tokio::time::timeout(ms(3), service.oneshot(request)).await;
                return Ok(StatusCode::OK);
            }
            let response = tokio::time::timeout(ms(2_000), service.oneshot(request)).await;
            let response = response.unwrap_or_else(|_| Err("it hangs".into()))?;
            let status = response.status();
            response.into_body().collect().await?;
            Ok::<_, BoxError>(status)
        }));
        sleep(ms(chance.below(3))).await;
    }
    let mut fails = 0;
    for request in requests {
        fails += u32::from(!matches!(request.await.unwrap(), Ok(StatusCode::OK)));
    }
    let about = format!("{policy} with seed {seed}");
    // Four attempts and two hedges can meet those that refuse each time, if seldom.
    assert!(fails <= 15, "{fails} of 150 failed: {about}");
    fickle.iter().for_each(|fickle| fickle.refuses.store(0, Relaxed));
    sleep(ms(200)).await;
    let busy: Vec<_> = balance.endpoints().into_iter().filter(|view| view.in_flight > 0).collect();
    assert!(busy.is_empty(), "{about}: {busy:?}");
    for _ in 0..20 {
        let get = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(service.clone().oneshot(get).await.unwrap().status(), 200, "{about}");
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_change_amid_attempts_and_hedges_lose_no_request() {
    for (number, policy) in policies::ALL.into_iter().enumerate() {
        for seed in 0..3 {
            live(policy, number + 3 * seed).await;
        }
    }
}
