//! Requests as calls of methods: go-micro's handlers `api` and `rpc`.

use std::collections::HashMap;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use micro_discover::Service as Record;
use prost::Message;
use tonic::body::Body;
use tower::ServiceExt;

use crate::face::Face;
use crate::program::Place;
use crate::service::{Services, grpc_body};
use crate::shop;

const API: &str = r#"
syntax = "proto3";
package go.api;
message Pair { string key = 1; repeated string values = 2; }
message Request {
  string method = 1; string path = 2;
  map<string, Pair> header = 3; map<string, Pair> get = 4; map<string, Pair> post = 5;
  string body = 6; string url = 7;
}
message Response { int32 statusCode = 1; map<string, Pair> header = 2; string body = 3; }
service Say { rpc Hello(Request) returns (Response); }
"#;

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, repeated, tag = "2")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(map = "string, message", tag = "3")]
    header: HashMap<String, Pair>,
    #[prost(map = "string, message", tag = "4")]
    get: HashMap<String, Pair>,
    #[prost(map = "string, message", tag = "5")]
    post: HashMap<String, Pair>,
    #[prost(string, tag = "6")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answered {
    #[prost(int32, tag = "1")]
    status_code: i32,
    #[prost(map = "string, message", tag = "2")]
    header: HashMap<String, Pair>,
    #[prost(string, tag = "3")]
    body: String,
}

/// A service of go-micro's API, which says what it was asked with.
fn say(services: &Services) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("api.proto"), API).unwrap();
    let mut compiler = protox::Compiler::new([dir.path()]).unwrap();
    compiler.include_imports(true).open_file("api.proto").unwrap();
    let set = compiler.encode_file_descriptor_set().leak();
    let reflection = tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(set);
    let reflection = reflection.build_v1().unwrap();
    services.serve_raw(Record::new("greeter"), move |request| {
        let reflection = reflection.clone();
        async move {
            if request.uri().path() != "/go.api.Say/Hello" {
                return reflection.oneshot(request).await.unwrap().map(Body::new);
            }
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let asked = Asked::decode(&body[5..]).unwrap();
            let first = |pairs: &HashMap<String, Pair>, key: &str| {
                pairs.get(key).map(|pair| pair.values.join("+")).unwrap_or_default()
            };
            let said = format!(
                "{} {} get={} post={} body={} token={} for={}",
                asked.method,
                asked.path,
                first(&asked.get, "q"),
                first(&asked.post, "name"),
                asked.body,
                first(&asked.header, "X-Token"),
                first(&asked.header, "X-Forwarded-For"),
            );
            let teapot = first(&asked.get, "q") == "tea";
            let status_code = if teapot { 418 } else { 0 };
            let kind = Pair { key: "Content-Type".into(), values: vec!["text/plain".into()] };
            let header = teapot.then(|| ("Content-Type".to_owned(), kind)).into_iter().collect();
            let answer = Answered { status_code, header, body: said }.encode_to_vec();
            let frame = [&[0], &u32::try_from(answer.len()).unwrap().to_be_bytes()[..], &answer].concat();
            Response::builder()
                .header("content-type", "application/grpc")
                .body(grpc_body(vec![Bytes::from(frame)], &[("grpc-status", "0")]))
                .unwrap()
        }
    });
}

#[test]
fn a_request_is_a_message_of_the_api_handler_and_its_answer_is_what_the_message_says() {
    let place = Place::new();
    let services = Services::new(&place);
    say(&services);
    let face = Face::start(&place, &["--handler", "api"]);
    let token = "x-token: a\r\nx-token: b\r\n";
    let answer = face.ask("PUT", "/greeter/say/hello?q=1&q=2", token, b"raw");
    let said = "PUT /greeter/say/hello get=1+2 post= body=raw token=a+b for=127.0.0.1";
    assert_eq!((answer.status, answer.text().as_str()), (200, said), "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "as go-micro has it where nothing is said"
    );
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let answer = face.ask("POST", "/greeter/say/hello?q=tea", form, b"name=John%20Doe");
    let said = "POST /greeter/say/hello get=tea post=John Doe body= token= for=127.0.0.1";
    assert_eq!((answer.status, answer.text().as_str()), (418, said), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(face.get("/greeter/say/nothing").status, 404);
}

#[test]
fn who_sends_protobuf_gets_protobuf_back() {
    let place = Place::new();
    let services = Services::new(&place);
    shop::open(&services);
    let face = Face::start(&place, &["--handler", "rpc"]);
    // An item whose name is `a`.
    let item = b"\x0a\x01a";
    for path in ["/shop/shop/plain", "/shop.v1.Shop/Plain"] {
        for kind in ["application/protobuf", "application/proto"] {
            let answer = face.ask("POST", path, &format!("content-type: {kind}\r\n"), item);
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some(kind)),
                "{path}: {answer:?}"
            );
            assert_eq!(answer.body, item, "{path}");
        }
    }
    let json = "content-type: application/protobuf\r\naccept: application/json\r\n";
    assert_eq!(face.ask("POST", "/shop/shop/plain", json, item).text(), r#"{"name":"a"}"#);
    let wrong = face.ask("POST", "/shop/shop/plain", "content-type: application/protobuf\r\n", b"\x0a\x05a");
    assert_eq!((wrong.status, &wrong.json()["status"]), (400, &"INVALID_ARGUMENT".into()), "{wrong:?}");
}
