//! gRPC and gRPC-Web through the gateway.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use micro_discover::Service as Record;
use micro_tower::transport::{Connection, Connector};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use crate::face::Face;
use crate::program::Place;
use crate::service::{Services, grpc_body};

/// A message of gRPC that says SERVING.
const SERVING: Bytes = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);

/// Streams two answers, or breaks off, or never answers: what the path says.
fn health(services: &Services) {
    let record = Record::new("grpc.health.v1");
    // What answers health checks itself would answer these.
    services.serve_raw(record, |request| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let asked = request.headers().get("x-want").map(|value| value.to_str().unwrap().to_owned());
        let answer =
            |body| Response::builder().header("content-type", "application/grpc").body(body).unwrap();
        match asked.as_deref() {
            Some("never") => std::future::pending().await,
            Some("abort") => {
                answer(grpc_body(vec![], &[("grpc-status", "10"), ("grpc-message", "no"), ("x-extra", "1")]))
            }
            Some("stop") => answer(Body::new(StreamBody::new(
                tokio_stream::once(Ok::<_, std::convert::Infallible>(Frame::data(SERVING)))
                    .chain(futures_util::stream::pending()),
            ))),
            Some("two") => {
                answer(grpc_body(vec![SERVING, SERVING], &[("grpc-status", "0"), ("x-extra", "2")]))
            }
            _ => answer(grpc_body(vec![SERVING], &[("grpc-status", "0")])),
        }
    });
}

fn want(what: &'static str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("x-want", what.parse().unwrap());
    request
}

#[test]
fn the_least_and_the_most_time_that_a_call_can_have_are_what_they_say() {
    let place = Place::new();
    let services = Services::new(&place);
    health(&services);
    let face = Face::start(&place, &[]);
    // What HTTP/1 says behind the answer is not looked at.
    for (time, failure) in [("0S", Some("4")), ("1n", Some("4")), ("99999999H", None)] {
        let headers = format!("content-type: application/grpc\r\nte: trailers\r\ngrpc-timeout: {time}\r\n");
        let path = "/grpc.health.v1.Health/Check";
        let answer = String::from_utf8_lossy(&face.say(format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}content-length: 5\r\n\r\n\0\0\0\0\0"
        )))
        .into_owned();
        let status = answer.split("grpc-status: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        assert_eq!((answer.starts_with("HTTP/1.1 200 OK"), status), (true, failure), "{time}: {answer}");
    }
}

#[test]
fn calls_go_through_with_their_trailers_and_deadlines() {
    let place = Place::new();
    let services = Services::new(&place);
    health(&services);
    let face = Face::start(&place, &[]);
    let endpoint = Endpoint::from_shared(format!("http://{}", face.address)).unwrap();
    services.runtime.block_on(async {
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        assert_eq!(client.check(want("")).await.unwrap().into_inner().status, 1);

        let status = client.check(want("abort")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Aborted, "no"));
        assert_eq!(status.metadata().get("x-extra").unwrap(), "1");

        let mut stream = client.watch(want("two")).await.unwrap().into_inner();
        let mut seen = 0;
        while let Some(message) = stream.message().await.unwrap() {
            seen += message.status;
        }
        assert_eq!(seen, 2);
        assert_eq!(stream.trailers().await.unwrap().unwrap().get("x-extra").unwrap(), "2");

        // tonic's own channel would give up by itself.
        let endpoint = micro_discover::Endpoint::new("it", face.address.to_string().parse().unwrap());
        let connection: Connection = Connector::http2().connect(&endpoint);
        let connection = ServiceExt::<http::Request<Body>>::ready_oneshot(connection).await.unwrap();
        let mut patient = HealthClient::new(connection);
        let mut late = want("never");
        late.set_timeout(Duration::from_millis(200));
        assert_eq!(patient.check(late).await.unwrap_err().code(), Code::DeadlineExceeded);
    });
}

#[test]
fn a_service_that_is_not_there_is_unimplemented() {
    let place = Place::new();
    let services = Services::new(&place);
    let face = Face::start(&place, &[]);
    let endpoint = Endpoint::from_shared(format!("http://{}", face.address)).unwrap();
    services.runtime.block_on(async {
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        assert_eq!(client.check(want("")).await.unwrap_err().code(), Code::Unimplemented);
    });
}

#[test]
fn a_browser_calls_as_grpc_web() {
    let place = Place::new();
    let services = Services::new(&place);
    health(&services);
    let face = Face::start(&place, &["--cors", "https://page.example"]);
    let call = |kind: &str, want: &str, body: &[u8]| {
        let headers = format!(
            "content-type: {kind}\r\naccept: {kind}\r\norigin: https://page.example\r\nx-want: {want}\r\n"
        );
        face.ask("POST", "/grpc.health.v1.Health/Check", &headers, body)
    };
    let empty = [0, 0, 0, 0, 0];
    let answer = call("application/grpc-web+proto", "two", &empty);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc-web+proto")));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("grpc-status"));
    assert!(answer.body.starts_with(&[&SERVING[..], &SERVING[..], &[0x80]].concat()), "{answer:?}");
    assert!(
        answer.text().contains("grpc-status:0\r\n") && answer.text().contains("x-extra:2\r\n"),
        "{answer:?}"
    );

    let answer = call("application/grpc-web-text+proto", "abort", BASE64_STANDARD.encode(empty).as_bytes());
    let trailers = BASE64_STANDARD.decode(&answer.body).unwrap();
    assert!(String::from_utf8_lossy(&trailers).contains("grpc-status:10\r\n"), "{answer:?}");

    // The status comes behind what was said before it, and time that is over is a status.
    let two = [&SERVING[..], &SERVING[..], &[0x80]].concat();
    let text = call("application/grpc-web-text", "two", BASE64_STANDARD.encode(empty).as_bytes());
    assert!(text.body.starts_with(BASE64_STANDARD.encode(SERVING).as_bytes()), "{text:?}");
    let late = face.ask(
        "POST",
        "/grpc.health.v1.Health/Check",
        "content-type: application/grpc-web\r\nx-want: stop\r\ngrpc-timeout: 300m\r\n",
        &empty,
    );
    assert!(late.body.starts_with(&[&SERVING[..], &[0x80]].concat()), "{late:?}");
    assert!(late.text().contains("grpc-status:4\r\n"), "{late:?}");
    assert!(call("application/grpc-web", "two", &empty).body.starts_with(&two));

    // Types are written in more ways than one, and text may be padded at the end of each message.
    let ask = |kind: &str, body: &[u8]| {
        let headers = format!("content-type: {kind}\r\nx-want: two\r\n");
        face.ask("POST", "/grpc.health.v1.Health/Check", &headers, body)
    };
    for kind in ["Application/gRPC-Web+Proto", "application/grpc-web; charset=utf-8"] {
        assert!(ask(kind, &empty).body.starts_with(&two), "{kind}");
    }
    let padded = [BASE64_STANDARD.encode(&empty[..2]), BASE64_STANDARD.encode(&empty[2..])].concat();
    let answer = ask("application/grpc-web-text", padded.as_bytes());
    assert_eq!(answer.header("content-type"), Some("application/grpc-web-text+proto"), "{answer:?}");
    assert!(answer.body.starts_with(BASE64_STANDARD.encode(SERVING).as_bytes()), "{answer:?}");
    assert_eq!(ask("application/grpc-web+json", &empty).status, 415);

    let preflight = "origin: https://page.example\r\naccess-control-request-method: POST\r\n\
                     access-control-request-headers: content-type,x-grpc-web\r\n";
    let answer = face.ask("OPTIONS", "/grpc.health.v1.Health/Check", preflight, b"");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-headers")),
        (204, Some("content-type,x-grpc-web"))
    );
}
