//! gRPC's health protocol as a client hears it (A17). Time is paused throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, Request};
use http_body::Frame;
use http_body_util::StreamBody;
use micro_balance::{
    Balance, Http, State,
    health::{Check, Condition, GrpcCheck, HealthCheck},
    policy::PeakEwma,
};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Response, Status, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tower::{discover::ServiceList, service_fn};

type Words = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

/// Where the words of a stream go.
type Mouth = mpsc::UnboundedSender<Result<HealthCheckResponse, Status>>;

/// A server whose words the test puts into its mouth.
#[derive(Clone, Debug, Default)]
struct Scripted {
    /// Where the words of the present stream go; `None` before there is one.
    mouth: Arc<Mutex<Option<Mouth>>>,
    first: Arc<Mutex<Vec<Result<ServingStatus, Status>>>>,
    watched: Arc<AtomicUsize>,
    degraded: Arc<AtomicBool>,
}

fn word(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

impl Scripted {
    /// Says these words first, on each stream or as the answers to `Check`.
    fn saying(words: impl IntoIterator<Item = Result<ServingStatus, Status>>) -> Self {
        let scripted = Self::default();
        scripted.first.lock().unwrap().extend(words);
        scripted
    }

    fn say(&self, status: ServingStatus) {
        self.mouth.lock().unwrap().as_ref().unwrap().send(Ok(word(status))).unwrap();
    }

    /// The answer, with the header that says it is degraded if it is.
    fn answer<T>(&self, answer: T) -> Response<T> {
        let mut response = Response::new(answer);
        if self.degraded.load(Relaxed) {
            response.metadata_mut().insert("x-envoy-degraded", "1".parse().unwrap());
        }
        response
    }

    fn hang_up(&self) {
        *self.mouth.lock().unwrap() = None;
    }
}

#[tonic::async_trait]
impl Health for Scripted {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.watched.fetch_add(1, Relaxed);
        assert_eq!(request.get_ref().service, "greeter.Greeter");
        self.first.lock().unwrap()[0].clone().map(|status| self.answer(word(status)))
    }

    type WatchStream = Words;

    async fn watch(&self, request: tonic::Request<HealthCheckRequest>) -> Result<Response<Words>, Status> {
        self.watched.fetch_add(1, Relaxed);
        assert_eq!(request.get_ref().service, "greeter.Greeter");
        let first: Vec<_> = self.first.lock().unwrap().iter().map(|first| first.clone().map(word)).collect();
        if let Some(Err(status)) = first.first() {
            return Err(status.clone());
        }
        let (sender, words) = mpsc::unbounded_channel();
        *self.mouth.lock().unwrap() = Some(sender);
        Ok(self.answer(stream::iter(first).chain(UnboundedReceiverStream::new(words)).boxed()))
    }
}

type Balanced = Balance<HealthServer<Scripted>, Request<Body>, PeakEwma, Http>;

fn balance(scripted: &Scripted, check: GrpcCheck<Body>) -> Balanced {
    Balance::builder(ServiceList::new::<Request<Body>>(vec![HealthServer::new(scripted.clone())]))
        .protocol(Http)
        .health_check(HealthCheck::default(), check)
        .build()
}

async fn state(balance: &Balanced) -> State {
    sleep(Duration::from_millis(5)).await;
    balance.endpoints()[0].state
}

fn greeter() -> GrpcCheck<Body> {
    GrpcCheck::new("greeter.Greeter")
}

#[tokio::test(start_paused = true)]
async fn every_word_counts_at_once() {
    let server = Scripted::default();
    let balance = balance(&server, greeter());
    assert_eq!(state(&balance).await, State::Connecting, "it has not said a word");
    server.say(ServingStatus::Serving);
    assert_eq!(state(&balance).await, State::Ready);
    for (said, heard) in [
        (ServingStatus::NotServing, State::Unhealthy),
        (ServingStatus::Serving, State::Ready),
        (ServingStatus::ServiceUnknown, State::Unhealthy),
        (ServingStatus::Serving, State::Ready),
        (ServingStatus::Unknown, State::Unhealthy),
    ] {
        server.say(said);
        assert_eq!(state(&balance).await, heard, "{said:?}");
    }
    assert_eq!(server.watched.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_speak_the_protocol_counts_as_healthy_and_is_not_asked_again() {
    for (check, follows) in [(greeter(), true), (greeter().unary(), false)] {
        let server = Scripted::saying([Err(Status::unimplemented("no health here"))]);
        let balance = balance(&server, check);
        assert_eq!(state(&balance).await, State::Ready);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(state(&balance).await, State::Ready);
        assert_eq!(server.watched.load(Relaxed) == 1, follows, "there is nothing to follow");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_means_unwell_and_is_opened_again_with_a_growing_wait() {
    let server = Scripted::saying([Ok(ServingStatus::Serving)]);
    let balance = balance(&server, greeter());
    assert_eq!(state(&balance).await, State::Ready);
    server.hang_up();
    assert_eq!(state(&balance).await, State::Unhealthy);
    while state(&balance).await != State::Ready {}
    // A word sets the wait back to the first one, however often the stream breaks after it.
    for _ in 0..5 {
        server.hang_up();
        assert_eq!(state(&balance).await, State::Unhealthy);
        let began = Instant::now();
        while state(&balance).await != State::Ready {}
        assert!((700..1_250).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    *server.first.lock().unwrap() = vec![Err(Status::unavailable("starting"))];
    server.hang_up();
    let asked = server.watched.load(Relaxed);
    sleep(Duration::from_secs(300)).await;
    let times = server.watched.load(Relaxed) - asked;
    assert!((10..30).contains(&times), "opened {times} times in five minutes");
    assert_eq!(state(&balance).await, State::Unhealthy);
}

/// As Envoy does with every stream that lasts as long as its route may take, 15 s unless set.
#[tokio::test(start_paused = true)]
async fn a_stream_that_has_lasted_for_a_while_is_opened_again_at_once_and_one_after_the_other_is_not() {
    let server = Scripted::saying([Ok(ServingStatus::Serving)]);
    let balance = balance(&server, greeter());
    for _ in 0..3 {
        sleep(Duration::from_secs(15)).await;
        server.hang_up();
        assert_eq!(state(&balance).await, State::Ready);
    }
    let opened = server.watched.load(Relaxed);
    for _ in 0..20 {
        server.hang_up();
        sleep(Duration::from_millis(100)).await;
    }
    let times = server.watched.load(Relaxed) - opened;
    assert!((1..=3).contains(&times), "opened {times} times in two seconds");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_opens_the_stream_and_says_nothing_is_unwell_after_the_timeout() {
    let server = Scripted::default();
    let balance = balance(&server, greeter());
    sleep(Duration::from_millis(1_010)).await;
    assert_eq!(state(&balance).await, State::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_say_that_the_endpoint_is_degraded() {
    for check in [greeter(), greeter().unary()] {
        let server = Scripted::saying([Ok(ServingStatus::Serving)]);
        server.degraded.store(true, Relaxed);
        let balance = balance(&server, check);
        assert_eq!(state(&balance).await, State::Degraded);
        server.degraded.store(false, Relaxed);
        server.hang_up();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(state(&balance).await, State::Ready);
        *server.first.lock().unwrap() = vec![Ok(ServingStatus::NotServing)];
        server.hang_up();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(state(&balance).await, State::Unhealthy, "what it says counts at once");
    }
}

#[tokio::test(start_paused = true)]
async fn asked_by_check_an_unknown_service_is_unwell() {
    let server = Scripted::saying([Err(Status::not_found("no such service"))]);
    let balance = balance(&server, greeter().unary());
    assert_eq!(state(&balance).await, State::Unhealthy);
    *server.first.lock().unwrap() = vec![Ok(ServingStatus::Serving)];
    sleep(Duration::from_secs(5)).await;
    assert_eq!(state(&balance).await, State::Ready);
}

/// Names and values as the table has them.
fn fields(text: Option<&str>) -> HeaderMap {
    let pairs = text.into_iter().flat_map(|text| text.split(", ")).filter_map(|pair| pair.split_once(": "));
    pairs.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

/// `data/envoy_health.json`
#[tokio::test(start_paused = true)]
async fn what_is_no_answer_of_the_protocol_does_not_say_that_an_endpoint_is_well() {
    let table: Value = serde_json::from_str(include_str!("data/envoy_health.json")).unwrap();
    let good = serde_json::json!({
        "of": "well", "status": 200, "head": "content-type: application/grpc", "body": "00000000020801",
        "trailers": "grpc-status: 0",
    });
    for case in table["no_answers"].as_array().unwrap().iter().chain([&good]) {
        let answers = case.clone();
        let server = service_fn(move |_: Request<Body>| {
            let hex = answers["body"].as_str().unwrap_or_default();
            let byte = |place: usize| u8::from_str_radix(&hex[place..place + 2], 16).unwrap();
            let body: Bytes = (0..hex.len()).step_by(2).map(byte).collect();
            let body = (!body.is_empty()).then(|| Frame::data(body));
            let trailers = answers["trailers"].as_str().map(|text| Frame::trailers(fields(Some(text))));
            let frames: Vec<_> = body.into_iter().chain(trailers).map(Ok::<_, Infallible>).collect();
            let mut answer = http::Response::new(StreamBody::new(stream::iter(frames)));
            *answer.status_mut() =
                http::StatusCode::from_u16(answers["status"].as_u64().unwrap() as u16).unwrap();
            *answer.headers_mut() = fields(answers["head"].as_str());
            async move { Ok::<_, Infallible>(answer) }
        });
        let said = greeter().unary().ask(server).await;
        let is_well = said.as_ref().is_ok_and(|said| *said != Condition::Unwell);
        assert_eq!(is_well, case["of"] == "well", "{}: {said:?}", case["of"]);
    }
}
