//! A gRPC server whose methods are of every kind, with reflection in the versions that are asked for.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use http::{Request as HttpRequest, Response as HttpResponse};
use micro::call::DynamicCodec;
use micro::schema::Schema;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};
use tower::Service;

pub(crate) const PROTO: &str = r#"
syntax = "proto3";
package test.v1;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";

// What is said.
message Words {
  string text = 1;
  int64 number = 2;
  google.protobuf.Timestamp at = 3;
  map<string, int32> counts = 4;
  oneof choice { bool yes = 5; google.protobuf.Duration wait = 6; }
  repeated string list = 7;
  Mood mood = 8;
}

enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; }

// Says it again.
service Echo {
  // One for one.
  rpc Unary(Words) returns (Words);
  // As many as the number says.
  rpc Many(Words) returns (stream Words);
  // One whose number is the sum.
  rpc Sum(stream Words) returns (Words);
  // Each at once.
  rpc Chat(stream Words) returns (stream Words);
  // The status of that number.
  rpc Fail(Words) returns (Words);
  // After that many milliseconds.
  rpc Slow(Words) returns (Words);
}
"#;

/// Which reflection a server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reflection {
    None,
    V1,
    V1Alpha,
}

/// The descriptor set of [`PROTO`].
pub(crate) fn set() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("echo.proto"), PROTO).unwrap();
    let mut compiler = protox::Compiler::new([dir.path()]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_file("echo.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// The server's routes. `name` is the text of answers that were asked for none.
pub(crate) fn routes(name: &str, reflection: Reflection) -> Routes {
    let set: &'static [u8] = set().leak();
    let echo = Echo { schema: Schema::decode(set).unwrap(), name: name.to_owned() };
    let mut routes = Routes::new(echo).add_service(Debug);
    let builder = || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(set);
    match reflection {
        Reflection::None => {}
        Reflection::V1 => routes = routes.add_service(builder().build_v1().unwrap()),
        Reflection::V1Alpha => routes = routes.add_service(builder().build_v1alpha().unwrap()),
    }
    routes
}

/// Starts it, on a port of its own. It ends with the runtime.
pub(crate) async fn serve(name: &str, reflection: Reflection) -> String {
    let bound = micro_tower::Server::new().bind().await.unwrap();
    let address = bound.local_address().to_string();
    tokio::spawn(bound.serve_until(routes(name, reflection).prepare(), std::future::pending()));
    address
}

/// `Debug.Stats` as servers of go-micro v1 and later answer it.
#[derive(Clone)]
struct Debug;

impl NamedService for Debug {
    const NAME: &'static str = "Debug";
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stats {
    #[prost(uint64, tag = "2")]
    started: u64,
    #[prost(uint64, tag = "3")]
    uptime: u64,
    #[prost(uint64, tag = "4")]
    memory: u64,
    #[prost(uint64, tag = "5")]
    threads: u64,
    #[prost(uint64, tag = "7")]
    requests: u64,
}

impl tonic::server::UnaryService<()> for Debug {
    type Response = Stats;
    type Future = std::future::Ready<Result<Response<Stats>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let started = 1_136_214_245;
        std::future::ready(Ok(Response::new(Stats {
            started,
            uptime: 61,
            memory: 1 << 20,
            threads: 3,
            requests: 7,
        })))
    }
}

impl Service<HttpRequest<Body>> for Debug {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let codec: tonic_prost::ProstCodec<Stats, ()> = tonic_prost::ProstCodec::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(Debug, request).await) })
    }
}

#[derive(Clone)]
struct Echo {
    schema: Schema,
    name: String,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.v1.Echo";
}

impl Service<HttpRequest<Body>> for Echo {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let Ok(method) = self.schema.method(request.uri().path()) else {
            return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
        };
        let each = Each { method: method.clone(), name: self.name.clone() };
        Box::pin(
            async move { Ok(Grpc::new(DynamicCodec::new(method.input())).streaming(each, request).await) },
        )
    }
}

struct Each {
    method: MethodDescriptor,
    name: String,
}

impl StreamingService<DynamicMessage> for Each {
    type Response = DynamicMessage;
    type ResponseStream = BoxStream<'static, Result<DynamicMessage, Status>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<DynamicMessage>>) -> Self::Future {
        let (method, name) = (self.method.name().to_owned(), self.name.clone());
        Box::pin(async move {
            let token = request.metadata().get("x-token").cloned();
            let mut requests = request.into_inner();
            let number = |m: &DynamicMessage| m.get_field_by_name("number").unwrap().as_i64().unwrap();
            let numbered = |mut m: DynamicMessage, number: i64| {
                m.set_field_by_name("number", Value::I64(number));
                m
            };
            let answers: Self::ResponseStream = match method.as_str() {
                "Chat" => requests.boxed(),
                "Sum" => {
                    let (mut sum, mut last) = (0, None);
                    while let Some(message) = requests.message().await? {
                        sum += number(&message);
                        last = Some(message);
                    }
                    let last = last.ok_or_else(|| Status::invalid_argument("nothing to add"))?;
                    stream::iter([Ok(numbered(last, sum))]).boxed()
                }
                _ => {
                    let mut message =
                        requests.message().await?.ok_or_else(|| Status::internal("nothing was sent"))?;
                    let n = number(&message);
                    match method.as_str() {
                        "Many" => stream::iter(0..n).map(move |i| Ok(numbered(message.clone(), i))).boxed(),
                        "Fail" if message.get_field_by_name("text").unwrap().as_str() == Some("details") => {
                            let details = ErrorDetails::with_bad_request_violation("name", "too long");
                            let code = Code::from_i32(n as i32);
                            return Err(Status::with_error_details(code, "as you asked", details));
                        }
                        "Fail" => return Err(Status::new(Code::from_i32(n as i32), "as you asked")),
                        _ => {
                            if method == "Slow" {
                                tokio::time::sleep(Duration::from_millis(n as u64)).await;
                            }
                            if message.get_field_by_name("text").unwrap().as_str() == Some("") {
                                message.set_field_by_name("text", Value::String(name));
                            }
                            stream::iter([Ok(message)]).boxed()
                        }
                    }
                }
            };
            let mut response = Response::new(answers);
            if let Some(token) = token {
                response.metadata_mut().insert("x-token", token);
            }
            Ok(response)
        })
    }
}
