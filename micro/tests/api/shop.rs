//! A gRPC service with routes of its own, which answers with what it was sent.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use micro_discover::Service as Record;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt;

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;

const HTTP: &str = r#"
syntax = "proto3";
package google.api;
message HttpRule {
  string selector = 1;
  oneof pattern {
    string get = 2; string put = 3; string post = 4; string delete = 5; string patch = 6;
    CustomHttpPattern custom = 8;
  }
  string body = 7;
  string response_body = 12;
  repeated HttpRule additional_bindings = 11;
}
message CustomHttpPattern { string kind = 1; string path = 2; }
"#;

const ANNOTATIONS: &str = r#"
syntax = "proto3";
package google.api;
import "google/api/http.proto";
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { HttpRule http = 72295728; }
"#;

const HTTP_BODY: &str = r#"
syntax = "proto3";
package google.api;
message HttpBody { string content_type = 1; bytes data = 2; }
"#;

const SHOP: &str = r#"
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Size { SIZE_UNSPECIFIED = 0; SMALL = 1; LARGE = 2; }

message Item {
  string name = 1;
  int64 count = 2;
  double price = 3;
  float weight = 4;
  Size size = 5;
  repeated string tags = 6;
  bool sold = 7;
  bytes data = 8;
  Item part = 9;
  google.protobuf.Timestamp at = 10;
  google.protobuf.Int32Value maybe = 11;
  google.protobuf.FieldMask update_mask = 12;
  map<string, string> labels = 13;
  google.api.HttpBody file = 14;
  repeated Size sizes = 15;
}

service Shop {
  rpc Get(Item) returns (Item) { option (google.api.http) = {
    get: "/v1/{name=items/*}"
    additional_bindings { get: "/v1/{name=shelves/*/items/**}" }
    additional_bindings { get: "/v1/parts/{part.name}" }
  }; }
  rpc Put(Item) returns (Item) { option (google.api.http) = { put: "/v1/{name=items/*}" body: "*" }; }
  rpc Update(Item) returns (Item) { option (google.api.http) = { patch: "/v1/{name=items/*}" body: "part" }; }
  rpc Tag(Item) returns (Item) { option (google.api.http) = { post: "/v1/tags" body: "tags" response_body: "tags" }; }
  rpc Buy(Item) returns (Item) { option (google.api.http) = { post: "/v1/{name=items/*}:buy" body: "*" response_body: "part" }; }
  rpc List(Item) returns (stream Item) { option (google.api.http) = { get: "/v1/items" }; }
  rpc Find(Item) returns (Item) { option (google.api.http) = { custom { kind: "SEARCH" path: "/v1/items" } }; }
  rpc Load(Item) returns (Item) { option (google.api.http) = { post: "/v1/files/{name}" body: "file" response_body: "file" }; }
  rpc Download(Item) returns (stream Item) { option (google.api.http) = { post: "/v1/downloads/{name}" body: "file" response_body: "file" }; }
  rpc Plain(Item) returns (Item);
  rpc Send(stream Item) returns (Item);
  rpc Talk(stream Item) returns (stream Item);
}
"#;

fn set() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("google/api")).unwrap();
    for (name, text) in [
        ("google/api/http.proto", HTTP),
        ("google/api/annotations.proto", ANNOTATIONS),
        ("google/api/httpbody.proto", HTTP_BODY),
        ("shop.proto", SHOP),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut compiler = protox::Compiler::new([dir.path()]).unwrap();
    compiler.include_imports(true).open_file("shop.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// The shop, and a gateway that knows it.
pub(crate) fn behind_a_gateway() -> (Place, Services, Face) {
    let place = Place::new();
    let services = Services::new(&place);
    open(&services);
    let face = Face::start(&place, &[]);
    face.until("/v1/items/x", 200);
    (place, services, face)
}

/// Serves the shop as `shop`, described by reflection.
///
/// `x-fail: N` ends a call with the status of that number; for a stream, after its answers.
pub(crate) fn open(services: &Services) -> SocketAddr {
    open_as(services, "shop")
}

/// The same by another name, which is the header `x-backend` of its answers.
pub(crate) fn open_as(services: &Services, name: &'static str) -> SocketAddr {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(set().leak())
        .build_v1()
        .unwrap();
    services.serve_raw(Record::new(name), move |request| {
        let reflection = reflection.clone();
        async move {
            if request.uri().path().starts_with("/grpc.reflection") {
                return match reflection.oneshot(request).await {
                    Ok(response) => response.map(Body::new),
                    Err(never) => match never {},
                };
            }
            let mut answer = echo(request).await;
            answer.headers_mut().insert("x-backend", http::HeaderValue::from_static(name));
            answer
        }
    })
}

async fn echo(request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let fail = request.headers().get("x-fail").and_then(|value| value.to_str().ok()?.parse::<i32>().ok());
    let seen = request.headers().get("x-token").cloned();
    if path.ends_with("/Talk") {
        return talk(request.into_body());
    }
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let status = match fail {
        Some(code) => Status::new(code.into(), "as you asked"),
        None => Status::ok(""),
    };
    let many =
        if path.ends_with("/List") || path.ends_with("/Download") { 2 } else { usize::from(fail.is_none()) };
    let mut trailers = http::HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    let frames =
        std::iter::repeat_n(message, many).map(Frame::<Bytes>::data).chain([Frame::trailers(trailers)]);
    let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>)));
    let mut response =
        Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap();
    response.headers_mut().extend(seen.map(|token| ("x-token".parse::<http::HeaderName>().unwrap(), token)));
    response
}

/// Says each message back as it comes, until there is no more.
fn talk(body: Body) -> Response<Body> {
    let frames = body.map_frame(|frame| match frame.into_data() {
        Ok(data) => Frame::data(data),
        Err(_) => Frame::data(Bytes::new()),
    });
    let mut trailers = http::HeaderMap::new();
    Status::ok("").add_header(&mut trailers).unwrap();
    let body = Body::new(frames.with_trailers(async move { Some(Ok(trailers)) }));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}
