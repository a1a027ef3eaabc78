//! What every transport must do.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{join_all, pending};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use micro_discover::{Endpoint, Memory, Registry as _, Service};
use micro_tower::{Client, Server, server::ServeError, transport::Connector};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tower::{BoxError, service_fn};

/// More than goes into one message of any broker's pipe.
const LENGTH: usize = 1 << 20;
/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Where servers listen, one after another.
pub(crate) struct Place {
    url: String,
    numbered: bool,
    count: AtomicUsize,
}

impl Place {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), numbered: false, count: AtomicUsize::new(0) }
    }

    /// A place where each server needs a name of its own.
    pub(crate) fn numbered(url: &str) -> Self {
        Self { numbered: true, ..Self::new(url) }
    }

    fn next(&self) -> String {
        let number = self.count.fetch_add(1, SeqCst);
        if self.numbered { format!("{}{number}", self.url) } else { self.url.clone() }
    }
}

/// Counts what its handlers do.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Counts {
    /// Whether every handler that was begun has ended.
    pub(crate) fn is_idle(&self) -> bool {
        self.begun.load(SeqCst) == self.ended.load(SeqCst)
    }
}

/// A server of [`echo`] under the name `echo`.
pub(crate) struct Running {
    pub(crate) counts: Counts,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub(crate) async fn start(url: &str, registry: &Memory) -> Self {
        let counts = Counts::default();
        let (stop, told) = oneshot::channel::<()>();
        let server = Server::new().listen(url).propagation(Duration::from_millis(50));
        let server = server.announce(Arc::new(registry.clone()), Service::new("echo"));
        let bound = server.bind().await.unwrap();
        let (address, counting) = (bound.address(), counts.clone());
        let service = service_fn(move |request| echo(counting.clone(), request));
        let ended = tokio::spawn(bound.serve_until(service, async {
            let _ = told.await;
        }));
        let announced = async || {
            let is_there = |endpoint: &Endpoint| endpoint.address.to_string() == address;
            let records = registry.get("echo").await.unwrap();
            records.iter().flat_map(|record| &record.endpoints).any(is_there)
        };
        timeout(LONG, async {
            while !announced().await {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it is announced");
        Self { counts, stop, ended }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        timeout(LONG, self.ended).await.unwrap().unwrap().unwrap();
    }
}

/// Ends when a handler does, however that is.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// `/echo` answers with the request's body, frame by frame, and trailers; `/slow` the same, long after; `/late` has only
/// the body come late; `/long` answers with more than goes into a message; `/never` not at all.
async fn echo(counts: Counts, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    counts.begun.fetch_add(1, SeqCst);
    let ended = Ended(counts.ended.clone());
    match request.uri().path() {
        "/never" => pending().await,
        "/slow" => sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    let (late, long) = (request.uri().path() == "/late", request.uri().path() == "/long");
    let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), HeaderValue::from_static("here"))]);
    let body = request.into_body().map_frame(move |frame| {
        let _ = &ended;
        if long { Frame::data(Bytes::from_static(&[7; LENGTH])) } else { frame }
    });
    let end = StreamBody::new(futures_util::stream::iter([Ok::<_, BoxError>(Frame::trailers(trailers))]));
    let both = futures_util::StreamExt::chain(
        futures_util::StreamExt::then(
            http_body_util::BodyStream::new(body.map_err(BoxError::from)),
            move |frame| async move {
                if late {
                    sleep(Duration::from_millis(50)).await;
                }
                frame
            },
        ),
        http_body_util::BodyStream::new(end),
    );
    let mut response = Response::new(Body::new(StreamBody::new(both)));
    response.headers_mut().insert("x-head", HeaderValue::from_static("there"));
    Ok(response)
}

pub(crate) fn client(registry: &Memory) -> Client {
    // On a busy machine a broker may take its time.
    let connector = Connector::new().connect_timeout(Duration::from_secs(10));
    Client::builder("echo", Arc::new(registry.clone())).connector(connector).timeout(LONG).build()
}

pub(crate) fn post(path: &str, body: Body) -> Request<Body> {
    Request::post(path).body(body).unwrap()
}

pub(crate) fn text(text: &'static str) -> Body {
    Body::new(http_body_util::Full::new(Bytes::from_static(text.as_bytes())))
}

/// A body that is sent piece by piece.
fn pieces() -> (mpsc::Sender<Result<Frame<Bytes>, BoxError>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::new(StreamBody::new(ReceiverStream::new(receiver))))
}

/// Runs it all at `place`.
pub(crate) async fn all(place: Place) {
    let registry = Memory::default();
    let server = Running::start(&place.next(), &registry).await;
    let client = client(&registry);
    a_request_is_answered_with_head_body_and_trailers(&client).await;
    requests_at_once_get_their_own_answers(&client).await;
    an_answer_of_any_length_comes_whole_whenever_it_comes(&client).await;
    a_stream_goes_both_ways_at_once(&client).await;
    more_than_all_windows_arrives_whole_past_a_slow_reader(&client).await;
    who_does_not_wait_any_more_ends_the_handler(&client, &server.counts).await;
    what_was_begun_is_finished_when_the_server_stops(&place, client, server, &registry).await;
}

async fn a_request_is_answered_with_head_body_and_trailers(client: &Client) {
    let response = timeout(LONG, client.send(post("/echo", text("hello")))).await.unwrap().unwrap();
    assert_eq!(response.headers()["x-head"], "there");
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-end"], "here");
    assert_eq!(body.to_bytes(), "hello");
}

async fn requests_at_once_get_their_own_answers(client: &Client) {
    let calls = (0..300_u32).map(|number| async move {
        let body = Body::new(http_body_util::Full::new(Bytes::from(number.to_string())));
        let response = client.send(post("/echo", body)).await.unwrap();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answer, number.to_string());
    });
    timeout(LONG, join_all(calls)).await.unwrap();
}

async fn an_answer_of_any_length_comes_whole_whenever_it_comes(client: &Client) {
    // At first nobody knows what will be answered, later it may have been learned.
    for _ in 0..2 {
        for (path, length) in [("/long", LENGTH), ("/late", 5)] {
            let calls = (0..10).map(|_| async {
                let response = client.send(post(path, text("hello"))).await.unwrap();
                assert_eq!(response.headers()["x-head"], "there");
                let body = response.into_body().collect().await.unwrap();
                assert_eq!(body.trailers().unwrap()["x-end"], "here");
                assert_eq!(body.to_bytes().len(), length, "{path}");
            });
            timeout(LONG, join_all(calls)).await.unwrap();
        }
    }
}

async fn a_stream_goes_both_ways_at_once(client: &Client) {
    let (sender, body) = pieces();
    let response = timeout(LONG, client.send(post("/echo", body))).await.unwrap().unwrap();
    let mut answers = response.into_body();
    for word in ["one", "two", "three"] {
        sender.send(Ok(Frame::data(Bytes::from_static(word.as_bytes())))).await.unwrap();
        let frame = timeout(LONG, answers.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
    }
    drop(sender);
    let end = timeout(LONG, answers.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(end.trailers_ref().unwrap()["x-end"], "here");
}

async fn more_than_all_windows_arrives_whole_past_a_slow_reader(client: &Client) {
    const PIECE: usize = 256 << 10;
    const COUNT: usize = 96;
    let (sender, body) = pieces();
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            sender.send(Ok(Frame::data(vec![number as u8; PIECE].into()))).await.unwrap();
        }
    });
    let response = timeout(LONG, client.send(post("/echo", body))).await.unwrap().unwrap();
    // Nobody reads yet, so the sender comes to a halt: what is under way is bounded.
    sleep(Duration::from_millis(200)).await;
    assert!(!sending.is_finished(), "24 MiB are under way, and nobody reads");
    let mut answers = response.into_body();
    let mut seen = 0;
    while let Some(frame) = timeout(LONG, answers.frame()).await.unwrap() {
        let Ok(data) = frame.unwrap().into_data() else { break };
        for byte in data {
            assert_eq!(usize::from(byte), seen / PIECE);
            seen += 1;
        }
    }
    assert_eq!(seen, COUNT * PIECE);
    sending.await.unwrap();
}

async fn who_does_not_wait_any_more_ends_the_handler(client: &Client, counts: &Counts) {
    let (begun, ended) = (counts.begun.load(SeqCst), counts.ended.load(SeqCst));
    assert_eq!(begun, ended, "no handler is left");
    let call = tokio::spawn(client.send(post("/never", text("x"))));
    until("the handler has begun", || counts.begun.load(SeqCst) == begun + 1).await;
    call.abort();
    until("the handler has ended", || counts.ended.load(SeqCst) == ended + 1).await;
}

async fn what_was_begun_is_finished_when_the_server_stops(
    place: &Place,
    client: Client,
    server: Running,
    registry: &Memory,
) {
    let begun = server.counts.begun.load(SeqCst);
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(client.send(post("/slow", text("slow"))))).collect();
    until("the calls have begun", || server.counts.begun.load(SeqCst) == begun + 20).await;
    let next = Running::start(&place.next(), registry).await;
    server.stop().await;
    for call in calls {
        let response = timeout(LONG, call).await.unwrap().unwrap().expect("what was begun is finished");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "slow");
    }
    a_request_is_answered_with_head_body_and_trailers(&client).await;
    assert_eq!(next.counts.begun.load(SeqCst), 1, "the next server has answered");
    next.stop().await;
}

pub(crate) async fn different_transports(urls: &[&str]) {
    let registry = Memory::default();
    let servers = join_all(urls.iter().map(|url| Running::start(url, &registry))).await;
    let client = client(&registry);
    let mut answered = HashSet::new();
    while answered.len() < servers.len() {
        a_request_is_answered_with_head_body_and_trailers(&client).await;
        let counts = servers.iter().enumerate().filter(|(_, server)| server.counts.begun.load(SeqCst) > 0);
        answered.extend(counts.map(|(number, _)| number));
    }
}

pub(crate) async fn until(what: &str, reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LONG, waiting).await.is_ok(), "it is not true after {LONG:?} that {what}");
}
