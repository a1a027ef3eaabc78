//! A server that is told to stop: what it finishes, what it tells, and how long it takes at most.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use examples::testing::{
    ResponseParameters, SimpleRequest, StreamingOutputCallRequest, test_service_client::TestServiceClient,
};
use futures_util::{future::join_all, stream};
use rustix::process::{Pid, Signal, kill_process};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::server::Server;

/// Far longer than a server without grace takes.
const LONG: Duration = Duration::from_secs(20);

async fn channel(server: &Server) -> Channel {
    let uri = format!("http://{}", server.address).parse().expect("an address is a URI");
    Channel::builder(uri).connect().await.expect("the server listens")
}

fn tell(server: &Server) {
    let pid = Pid::from_raw(server.child.id().cast_signed()).expect("it runs");
    kill_process(pid, Signal::TERM).expect("it can be told");
}

async fn ended(server: Server) -> (ExitStatus, Duration) {
    let begun = Instant::now();
    let mut server = server;
    let status = tokio::task::spawn_blocking(move || server.child.wait().expect("it ends"));
    let status = tokio::time::timeout(LONG, status).await.expect("it ends in time").expect("no panic");
    (status, begun.elapsed())
}

/// Answers after `interval`, `count` times.
fn slow(interval: Duration, count: usize) -> StreamingOutputCallRequest {
    let interval_us = i32::try_from(interval.as_micros()).expect("less than half an hour");
    let parameters = ResponseParameters { size: 8, interval_us, compressed: None };
    StreamingOutputCallRequest { response_parameters: vec![parameters; count], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_is_finished_and_health_says_not_serving_first() {
    let server = Server::start(&["--grace", "15"]);
    let channel = channel(&server).await;
    let health = HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await;
    let mut health = health.expect("it serves").into_inner();
    assert_eq!(health.message().await.expect("no error").expect("a status").status(), ServingStatus::Serving);
    let client = TestServiceClient::new(channel);
    let streams = join_all((0..50).map(|_| {
        let mut client = client.clone();
        async move {
            client
                .streaming_output_call(slow(Duration::from_millis(100), 15))
                .await
                .map(tonic::Response::into_inner)
        }
    }));
    let mut streams = streams.await.into_iter().collect::<Result<Vec<_>, _>>().expect("they begin");
    for stream in &mut streams {
        stream.message().await.expect("no error").expect("a first answer");
    }
    tell(&server);
    let told = health.message().await.expect("no error").expect("a status").status();
    assert_eq!(told, ServingStatus::NotServing);
    // It goes on serving until everybody can have heard of it.
    let mut late = client.clone();
    late.unary_call(SimpleRequest { response_size: 8, ..Default::default() }).await.expect("it still serves");
    for mut stream in streams {
        let mut answers = 1;
        while stream.message().await.expect("a stream that was begun is finished").is_some() {
            answers += 1;
        }
        assert_eq!(answers, 15);
    }
    // A watch does not hold the server.
    assert_eq!(health.message().await.expect_err("it stops").code(), Code::Unavailable);
    let (status, took) = ended(server).await;
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_stream_holds_the_server_no_longer_than_its_grace() {
    let server = Server::start(&["--grace", "1"]);
    let mut client = TestServiceClient::new(channel(&server).await);
    let stuck = client.full_duplex_call(stream::pending()).await.expect("it begins");
    tell(&server);
    let (status, took) = ended(server).await;
    assert!(status.success() && took < Duration::from_secs(8), "{status} after {took:?}");
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_twice_it_stops_at_once() {
    let server = Server::start(&["--grace", "600"]);
    let mut client = TestServiceClient::new(channel(&server).await);
    let stuck = client.full_duplex_call(stream::pending()).await.expect("it begins");
    tell(&server);
    // One signal that is not yet delivered would take the other with it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    tell(&server);
    let (status, took) = ended(server).await;
    assert!(status.success() && took < Duration::from_secs(8), "{status} after {took:?}");
    drop(stuck);
}
