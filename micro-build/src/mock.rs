//! Writes a server for tests: each method is whatever the test says, or unimplemented.

use std::fmt::Write;

use prost_build::{Method, Service};

use crate::names::snake;

/// A module `greeter_mock` with `GreeterMock`, for tonic's trait `greeter_server::Greeter`.
pub(crate) fn write_mock(service: &Service, code: &mut String) {
    let module = snake(&service.name);
    let name = &service.name;
    let mut fields = String::new();
    let mut setters = String::new();
    let mut methods = String::new();
    for method in &service.methods {
        let field = &method.name;
        let (request, answer) = types(method);
        let function = format!(
            "::std::sync::Arc<dyn Fn(::tonic::Request<{request}>) -> \
             ::tonic::codegen::BoxFuture<::tonic::Response<{answer}>, ::tonic::Status> + Send + Sync>"
        );
        let _ = writeln!(fields, "{field}: Option<{function}>,");
        let _ = writeln!(
            setters,
            "/// Answers `{}` by `answer`.\n\
             pub fn {field}<F, R>(mut self, answer: F) -> Self\n\
             where F: Fn(::tonic::Request<{request}>) -> R + Send + Sync + 'static,\n\
             R: ::std::future::Future<Output = Result<::tonic::Response<{answer}>, ::tonic::Status>> + Send + 'static,\n\
             {{ self.{field} = Some(::std::sync::Arc::new(move |request| ::std::boxed::Box::pin(answer(request)))); self }}",
            method.proto_name,
        );
        let associated = stream_type(method);
        let answer_type =
            if method.server_streaming { format!("Self::{}Stream", method.proto_name) } else { answer };
        let _ = writeln!(
            methods,
            "{associated}async fn {field}(&self, request: ::tonic::Request<{request}>) -> \
             Result<::tonic::Response<{answer_type}>, ::tonic::Status> {{\n\
             match &self.{field} {{ Some(answer) => answer(request).await,\n\
             None => Err(::tonic::Status::unimplemented({:?})) }} }}",
            format!("the test does not answer {}.{}", service.proto_name, method.proto_name),
        );
    }
    let _ = writeln!(
        code,
        "/// A `{name}` for tests.\n\
         pub mod {module}_mock {{\n\
         #![allow(dead_code, unused_variables, missing_docs, clippy::all)]\n\
         /// Answers each method as a test says; what it says nothing of is UNIMPLEMENTED. Serve it as\n\
         /// `{name}Server::new(mock)`.\n\
         #[derive(Clone, Default)]\n\
         pub struct {name}Mock {{ {fields} }}\n\
         impl ::std::fmt::Debug for {name}Mock {{\n\
         fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{ f.write_str(\"{name}Mock\") }}\n\
         }}\n\
         impl {name}Mock {{\n\
         /// Answers nothing yet.\n\
         pub fn new() -> Self {{ ::std::default::Default::default() }}\n\
         {setters}\n\
         }}\n\
         #[::tonic::async_trait]\n\
         impl super::{module}_server::{name} for {name}Mock {{\n\
         {methods}\n\
         }}\n\
         }}"
    );
}

/// What a method takes and gives, below a module of the file.
fn types(method: &Method) -> (String, String) {
    let (input, output) = (below(&method.input_type), below(&method.output_type));
    let request = if method.client_streaming { format!("::tonic::Streaming<{input}>") } else { input };
    (request, if method.server_streaming { boxed(&output) } else { output })
}

fn stream_type(method: &Method) -> String {
    if !method.server_streaming {
        return String::new();
    }
    format!("type {}Stream = {};\n", method.proto_name, boxed(&below(&method.output_type)))
}

fn boxed(message: &str) -> String {
    format!(
        "::std::pin::Pin<::std::boxed::Box<dyn ::tonic::codegen::tokio_stream::Stream<Item = \
         Result<{message}, ::tonic::Status>> + Send>>"
    )
}

/// A type as it is called one module further in.
pub(crate) fn below(name: &str) -> String {
    let whole = name.starts_with("::") || name.starts_with("crate::") || name == "()";
    if whole { name.to_owned() } else { format!("super::{name}") }
}
