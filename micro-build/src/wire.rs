//! Writes what speaks go-micro's RPC too: a client by name, and a router around tonic's server.

use std::fmt::Write;

use prost_build::{Method, Service};

use crate::{mock::below, names::snake};

/// A module `greeter_wire` with a `Client`, and a `router` where servers are generated. `descriptors` is the path of
/// the descriptor set, as seen from the generated file.
pub(crate) fn write_wire(service: &Service, descriptors: Option<&str>, code: &mut String) {
    let module = snake(&service.name);
    let name = &service.name;
    let full_name = match service.package.as_str() {
        "" => service.proto_name.clone(),
        package => format!("{package}.{}", service.proto_name),
    };
    let methods: String = service.methods.iter().map(|it| method(&full_name, it)).collect();
    let router = descriptors.map(|path| router(&module, name, path)).unwrap_or_default();
    let _ = writeln!(
        code,
        "/// `{full_name}` by name: over gRPC and go-micro's RPC.\n\
         pub mod {module}_wire {{\n\
         #![allow(dead_code, missing_docs, clippy::all)]\n\
         /// Calls `{full_name}`, whichever of the two its endpoints speak.\n\
         #[derive(Clone, Debug)]\n\
         pub struct Client {{ inner: ::micro_tower::wire::Client }}\n\
         impl Client {{\n\
         /// Calls over `client`.\n\
         pub fn new(client: ::micro_tower::Client) -> Self {{\n\
         Self {{ inner: ::micro_tower::wire::Client::new(client) }}\n\
         }}\n\
         {methods}\n\
         }}\n\
         {router}\n\
         }}"
    );
}

fn method(service: &str, method: &Method) -> String {
    let Method { name, proto_name, client_streaming, server_streaming, .. } = method;
    let (input, output) = (below(&method.input_type), below(&method.output_type));
    let path = format!("/{service}/{proto_name}");
    let fault = "::micro_tower::Fault";
    let stream = "::tonic::codegen::tokio_stream::Stream";
    match (client_streaming, server_streaming) {
        (false, false) => format!(
            "pub async fn {name}(&self, request: {input}) -> Result<{output}, {fault}> {{\n\
             self.inner.call({path:?}, &request).await\n}}\n"
        ),
        (false, true) => format!(
            "pub async fn {name}(&self, request: {input}) \
             -> Result<::micro_tower::wire::Answers<{output}>, {fault}> {{\n\
             self.inner.stream({path:?}, ::tonic::codegen::tokio_stream::once(request)).await\n}}\n"
        ),
        (true, true) => format!(
            "pub async fn {name}<S>(&self, requests: S) \
             -> Result<::micro_tower::wire::Answers<{output}>, {fault}>\n\
             where S: {stream}<Item = {input}> + Send + 'static {{\n\
             self.inner.stream({path:?}, requests).await\n}}\n"
        ),
        (true, false) => format!(
            "pub async fn {name}<S>(&self, requests: S) -> Result<{output}, {fault}>\n\
             where S: {stream}<Item = {input}> + Send + 'static {{\n\
             self.inner.stream({path:?}, requests).await?.only().await\n}}\n"
        ),
    }
}

fn router(module: &str, name: &str, descriptors: &str) -> String {
    format!(
        "/// Serves `handler` to gRPC, in protobuf and JSON, and to go-micro's clients.\n\
         ///\n\
         /// # Errors\n\
         ///\n\
         /// None: the descriptors are those of this file.\n\
         pub fn router<T: super::{module}_server::{name}>(handler: T) \
         -> Result<::micro_tower::wire::Router, ::micro_tower::wire::InvalidDescriptors> {{\n\
         const DESCRIPTORS: &[u8] = include_bytes!({descriptors:?});\n\
         let server = super::{module}_server::{name}Server::new(handler);\n\
         ::micro_tower::wire::Router::new().grpc(server, DESCRIPTORS)\n\
         }}\n"
    )
}
