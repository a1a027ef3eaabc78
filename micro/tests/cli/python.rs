//! A server of grpcio's own, which has reflection v1alpha alone.

use std::process::Command;

use crate::peer::PROTO;
use crate::program::Place;
use crate::venv;

const SERVER: &str = r#"
import sys, grpc
from concurrent import futures
from grpc_reflection.v1alpha import reflection
import echo_pb2, echo_pb2_grpc

class Echo(echo_pb2_grpc.EchoServicer):
    def Unary(self, request, context):
        return request
    def Many(self, request, context):
        for i in range(request.number):
            yield echo_pb2.Words(number=i)
    def Sum(self, requests, context):
        return echo_pb2.Words(number=sum(r.number for r in requests))
    def Chat(self, requests, context):
        for request in requests:
            yield request
    def Fail(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "as you asked")

server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
names = (echo_pb2.DESCRIPTOR.services_by_name["Echo"].full_name, reflection.SERVICE_NAME)
reflection.enable_server_reflection(names, server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"#;

#[test]
fn a_server_with_v1alpha_alone_is_called_in_all_four_ways() {
    let Some(python) = venv::grpcio() else { return };
    let place = Place::new();
    let dir = place.path("");
    std::fs::write(dir.join("echo.proto"), PROTO).unwrap();
    std::fs::write(dir.join("server.py"), SERVER).unwrap();
    let mut protoc = Command::new(&python);
    protoc.args(["-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", "echo.proto"]);
    assert!(protoc.current_dir(&dir).status().unwrap().success());
    let mut server = place.spawn(Command::new(&python).arg("server.py").current_dir(&dir));
    let address = format!("127.0.0.1:{}", server.line());

    let call = |arguments: &[&str]| place.ok(&[&["call", &address], arguments, &["-o", "json"]].concat());
    assert_eq!(call(&["Unary", "text=hi"]), "{\"text\":\"hi\"}\n");
    assert_eq!(call(&["Many", "number:=2"]), "{}\n{\"number\":\"1\"}\n");
    assert_eq!(call(&["Sum", "{\"number\":40}{\"number\":2}"]), "{\"number\":\"42\"}\n");
    assert_eq!(call(&["Chat", "{\"text\":\"a\"}{\"text\":\"b\"}"]), "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
    let run = place.run(&["call", &address, "Fail"]);
    assert_eq!(run.code, Some(69), "{run:?}");
    assert!(place.ok(&["describe", &address]).contains("rpc Chat(stream test.v1.Words)"));
    server.kill();
}
