//! A service that brings a command, as go-micro's bots know it: `Command.Exec` and `Command.Help`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use micro::call::DynamicCodec;
use micro::schema::Schema;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Request as Asked, Response as Answered, Status};
use tower::Service;

const PROTO: &str = r#"
syntax = "proto3";
package go.micro.bot;
message HelpRequest {}
message HelpResponse { string usage = 1; string description = 2; }
message ExecRequest { repeated string args = 1; }
message ExecResponse { bytes result = 1; string error = 2; }
service Command {
  rpc Help(HelpRequest) returns (HelpResponse);
  rpc Exec(ExecRequest) returns (ExecResponse);
}
"#;

/// Starts it, on a port of its own. It ends with the runtime.
pub(crate) async fn serve() -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("command.proto"), PROTO).unwrap();
    let mut compiler = protox::Compiler::new([dir.path()]).unwrap();
    let set = compiler.include_imports(true).open_file("command.proto").unwrap().encode_file_descriptor_set();
    let set: &'static [u8] = set.leak();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(set)
        .build_v1()
        .unwrap();
    let routes = Routes::new(Deploy { schema: Schema::decode(set).unwrap() }).add_service(reflection);
    let bound = micro_tower::Server::new().bind().await.unwrap();
    let address = bound.local_address().to_string();
    tokio::spawn(bound.serve_until(routes.prepare(), std::future::pending()));
    address
}

#[derive(Clone)]
struct Deploy {
    schema: Schema,
}

impl NamedService for Deploy {
    const NAME: &'static str = "go.micro.bot.Command";
}

impl Service<Request<Body>> for Deploy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = self.schema.method(request.uri().path()).unwrap();
        Box::pin(async move {
            Ok(Grpc::new(DynamicCodec::new(method.input())).unary(Each(method), request).await)
        })
    }
}

struct Each(MethodDescriptor);

impl UnaryService<DynamicMessage> for Each {
    type Response = DynamicMessage;
    type Future = Pin<Box<dyn Future<Output = Result<Answered<DynamicMessage>, Status>> + Send>>;

    fn call(&mut self, request: Asked<DynamicMessage>) -> Self::Future {
        let mut answer = DynamicMessage::new(self.0.output());
        let request = request.into_inner();
        if self.0.name() == "Help" {
            answer.set_field_by_name("usage", Value::String("deploy SERVICE".into()));
            answer.set_field_by_name("description", Value::String("Deploys a service".into()));
        } else {
            let args = request.get_field_by_name("args").unwrap();
            let args: Vec<_> =
                args.as_list().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
            if args.get(1).is_some_and(|arg| arg == "fail") {
                answer.set_field_by_name("error", Value::String("it does not want to".into()));
            } else {
                let result = format!("deployed {args:?}").into_bytes();
                answer.set_field_by_name("result", Value::Bytes(result.into()));
            }
        }
        Box::pin(async move { Ok(Answered::new(answer)) })
    }
}
