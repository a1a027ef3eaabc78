//! Ten thousand endpoints that come, change and go while several threads send: every request is answered by somebody who is or
//! was there, and in the end the balancer has the set that discovery named last. By the real clock, which nothing here waits for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::Empty;
use micro_balance::{
    Attributes, Balance, Chance, HashKey, Http,
    policy::{Maglev, PeakEwma, Policy, RoundRobin},
};
use tokio::{sync::mpsc, task::yield_now, time::sleep};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{BoxError, ServiceExt, discover::Change};
use tower_service::Service;

const MANY: u32 = 10_000;
/// Those that are always there.
const STAY: u32 = 1_000;

#[derive(Clone, Copy)]
struct Member(u32);

impl Service<Request<()>> for Member {
    type Response = Response<Empty<&'static [u8]>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

async fn live(policy: impl Policy) {
    let (changes, said) = mpsc::unbounded_channel();
    let say = |change| changes.send(Ok::<_, Infallible>(change)).unwrap();
    let balance = Balance::builder(UnboundedReceiverStream::new(said))
        .protocol(Http)
        .policy(policy)
        .attributes(|_: &u32, member: &Member| Attributes { weight: member.0, ..Attributes::default() })
        .build();
    (0..MANY).for_each(|id| say(Change::Insert(id, Member(1))));
    let over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let (mut balance, over) = (balance.clone(), over.clone());
            tokio::spawn(async move {
                let mut answers = 0_u64;
                while !over.load(SeqCst) {
                    let mut request = Request::new(());
                    request
                        .extensions_mut()
                        .insert(HashKey(answers.wrapping_mul(0x9e37_79b9_7f4a_7c15) + sender));
                    balance.ready().await?.call(request).await?;
                    answers += 1;
                    yield_now().await;
                }
                Ok::<_, BoxError>(answers)
            })
        })
        .collect();
    let chance = Chance::new(7);
    let mut present = vec![true; MANY as usize];
    for _ in 0..10 {
        for _ in 0..500 {
            let id = STAY + chance.below((MANY - STAY) as usize) as u32;
            let there = &mut present[id as usize];
            // One in three that is there changes its weight instead.
            if *there && chance.below(3) > 0 {
                *there = false;
                say(Change::Remove(id));
            } else {
                *there = true;
                say(Change::Insert(id, Member(1 + chance.below(5) as u32)));
            }
        }
        sleep(Duration::from_millis(2)).await;
    }
    let expected = present.iter().filter(|there| **there).count();
    while balance.ready_endpoints() != expected || balance.endpoints().len() != expected {
        sleep(Duration::from_millis(5)).await;
    }
    over.store(true, SeqCst);
    for sender in senders {
        assert!(sender.await.unwrap().unwrap() > 0);
    }
    assert!(balance.endpoints().iter().all(|view| view.in_flight == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn ten_thousand_endpoints_come_and_go_while_requests_are_sent() {
    live(RoundRobin::new()).await;
    live(PeakEwma::new()).await;
    live(Maglev::new()).await;
}
