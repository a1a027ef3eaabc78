//! Calls of gRPC that never end, as many of them as a service takes.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::select_all;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use micro_discover::{Endpoint, Service as Record};
use micro_tower::Server;
use micro_tower::transport::{Connection, Connector};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::face::Face;
use crate::program::Place;
use crate::service::{Services, grpc_body};

/// How long an honest call may take on a busy machine, and somebody who waits for another's stream.
const SOON: Duration = Duration::from_secs(4);
/// A message of gRPC.
const MESSAGE: Bytes = Bytes::from_static(&[0, 0, 0, 0, 1, 7]);

/// A service that takes ten calls on a connection, answers some, and sends back what others say as they say it.
pub(crate) fn talk(services: &Services) {
    let server = Server::new().health(false).max_concurrent_streams(10);
    services.start(server, Record::new("talk.v1"), |request| async move {
        let body = match request.uri().path() {
            "/talk.v1.Talk/Say" => {
                let said = request.into_body().collect().await.unwrap().to_bytes();
                grpc_body(vec![said], &[("grpc-status", "0")])
            }
            _ => request.into_body(),
        };
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    });
}

pub(crate) fn request(method: &str, client: &str, body: Body) -> Request<Body> {
    let request = Request::post(format!("/talk.v1.Talk/{method}")).header("content-type", "application/grpc");
    request.header("te", "trailers").header("x-forwarded-for", client).body(body).unwrap()
}

/// A call that has said something and goes on until this is dropped.
pub(crate) struct Call {
    _goes_on: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    /// What it was told at its end.
    pub(crate) end: JoinHandle<Option<String>>,
    pub(crate) heard: mpsc::Receiver<()>,
}

impl Call {
    pub(crate) async fn begin(connection: &Connection, client: &str) -> Self {
        let (goes_on, said) = mpsc::channel(1);
        goes_on.send(Ok(Frame::data(MESSAGE))).await.unwrap();
        let request = request("Chat", client, Body::new(StreamBody::new(ReceiverStream::new(said))));
        let (connection, (hears, heard)) = (connection.clone(), mpsc::channel(1));
        let end = tokio::spawn(async move {
            let answer = connection.oneshot(request).await.ok()?;
            let status =
                |headers: &http::HeaderMap| Some(headers.get("grpc-status")?.to_str().ok()?.to_owned());
            let (head, mut body) = answer.into_parts();
            let mut end = status(&head.headers);
            while let Some(Ok(frame)) = body.frame().await {
                if frame.is_data() {
                    let _ = hears.try_send(());
                }
                end = end.or_else(|| status(frame.trailers_ref()?));
            }
            end
        });
        Self { _goes_on: goes_on, end, heard }
    }
}

pub(crate) async fn connect(face: &Face) -> Connection {
    let endpoint = Endpoint::new("it", face.address.to_string().parse().unwrap());
    let connection: Connection = Connector::http2().connect(&endpoint);
    tower::ServiceExt::<Request<Body>>::ready_oneshot(connection).await.unwrap()
}

/// Answers how long it took.
pub(crate) async fn say(connection: &Connection, client: &str) -> Duration {
    let began = Instant::now();
    let request = request("Say", client, Body::new(Full::new(MESSAGE)));
    let answer = timeout(SOON, connection.clone().oneshot(request)).await.expect("an answer soon").unwrap();
    let answer = answer.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(answer.to_bytes(), MESSAGE);
    began.elapsed()
}

#[test]
fn calls_that_never_end_leave_streams_to_others() {
    let place = Place::new();
    let services = Services::new(&place);
    talk(&services);
    let face = Face::start(&place, &["--trust-forwarded"]);
    services.runtime.block_on(async {
        let (honest, greedy) = (connect(&face).await, [connect(&face).await, connect(&face).await]);
        say(&honest, "192.0.2.1").await;
        let mut calls = Vec::new();
        for wanted in [50, 1_000] {
            while calls.len() < wanted {
                calls.push(Call::begin(&greedy[calls.len() % 2], "198.51.100.7").await);
            }
            for _ in 0..3 {
                println!("{wanted} go on: {:?}", say(&honest, "192.0.2.1").await);
            }
        }
        // One that goes on as well has the stream of one that has gone on for a while.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let mut call = Call::begin(&honest, "192.0.2.1").await;
        timeout(SOON, call.heard.recv()).await.expect("an answer soon").unwrap();
        assert!(!call.end.is_finished());
        let ends = select_all(calls.iter_mut().map(|call| &mut call.end));
        let (end, _, others) = timeout(SOON, ends).await.expect("an end soon");
        assert_eq!(end.unwrap().as_deref(), Some("8"), "RESOURCE_EXHAUSTED");
        assert!(others.iter().all(|end| !end.is_finished()), "nobody else is told so");
    });
}
