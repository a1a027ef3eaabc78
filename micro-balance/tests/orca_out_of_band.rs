//! Load reports that come beside the requests: gRFC A51. Time is paused throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use micro_balance::{Balance, Http, OutOfBand, policy::OrcaWeighted};
use tokio::time::sleep;
use tonic::body::Body;
use tower::{ServiceExt, discover::ServiceList, service_fn};

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// A message of gRPC: ten requests a second, and the application's utilization.
fn message(utilization: f64) -> Bytes {
    let mut message = BytesMut::new();
    message.put_slice(&[0, 0, 0, 0, 18, 6 << 3 | 1]);
    message.put_f64_le(10.0);
    message.put_u8(9 << 3 | 1);
    message.put_f64_le(utilization);
    message.freeze()
}

/// How a server reports its load.
#[derive(Clone)]
struct Reports {
    utilization: Arc<Mutex<f64>>,
    /// How often it was asked, and whether it answers that it cannot.
    asked: Arc<AtomicUsize>,
    has_the_method: bool,
    /// After how many reports it hangs up.
    lasts: usize,
}

impl Reports {
    fn of(utilization: f64) -> Self {
        let utilization = Arc::new(Mutex::new(utilization));
        Self { utilization, asked: Arc::default(), has_the_method: true, lasts: usize::MAX }
    }

    fn answer(&self, request: &Request<Body>) -> Response<StreamBody<Frames>> {
        let stream = request.uri().path() == "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";
        let answer = Response::builder().header("content-type", "application/grpc");
        let (answer, frames): (_, Frames) = match stream {
            false => (answer.header("grpc-status", "0"), stream::empty().boxed()),
            true if !self.has_the_method => {
                self.asked.fetch_add(1, Relaxed);
                (answer.header("grpc-status", "12"), stream::empty().boxed())
            }
            true => {
                self.asked.fetch_add(1, Relaxed);
                let utilization = self.utilization.clone();
                let report = move |_| {
                    let utilization = utilization.clone();
                    async move {
                        sleep(Duration::from_secs(1)).await;
                        let utilization = *utilization.lock().unwrap();
                        Ok(Frame::data(message(utilization)))
                    }
                };
                (answer, stream::iter(0..self.lasts).then(report).boxed())
            }
        };
        answer.body(StreamBody::new(frames)).unwrap()
    }
}

/// How many of `count` requests each of two servers gets.
async fn shares(servers: &[Reports; 2], after: Duration, count: usize) -> Vec<u64> {
    let service = |reports: Reports| {
        service_fn(move |request: Request<Body>| {
            let answer = reports.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        })
    };
    let list = ServiceList::new::<Request<Body>>(servers.iter().cloned().map(service).collect::<Vec<_>>());
    let balance = Balance::builder(list)
        .policy(OrcaWeighted::new())
        .protocol(Http)
        .load_reporter(OutOfBand::<Body>::every(Duration::from_secs(1)))
        .build();
    sleep(after).await;
    for _ in 0..count {
        let answer = balance.clone().oneshot(Request::new(Body::empty())).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    balance.endpoints().into_iter().map(|view| view.picks).collect()
}

#[tokio::test(start_paused = true)]
async fn endpoints_share_by_what_they_report_without_a_request_being_sent() {
    let servers = [Reports::of(1.0), Reports::of(0.1)];
    let shares = shares(&servers, Duration::from_secs(13), 110).await;
    assert!(shares[0].abs_diff(10) <= 2 && shares[1].abs_diff(100) <= 2, "{shares:?}");
    assert_eq!(servers.each_ref().map(|server| server.asked.load(Relaxed)), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_up_is_asked_again_and_one_without_the_method_is_not() {
    let hangs_up = Reports { lasts: 1, ..Reports::of(0.1) };
    let without = Reports { has_the_method: false, ..Reports::of(0.1) };
    let servers = [hangs_up, without];
    let shares = shares(&servers, Duration::from_secs(30), 100).await;
    assert_eq!(shares, [50, 50], "fewer than two report");
    let [again, once] = servers.each_ref().map(|server| server.asked.load(Relaxed));
    assert!((6..=20).contains(&again), "asked {again} times in half a minute");
    assert_eq!(once, 1);
}
