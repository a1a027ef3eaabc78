//! Writes what a registry record says of a service, after the code that tonic generates for it.

use std::fmt::Write;

use prost_build::{Service, ServiceGenerator};
use protox::prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use crate::shape::shape;

/// Generates what `inner` does and, given the descriptors, the methods of each service.
pub(crate) struct Methods {
    inner: Box<dyn ServiceGenerator>,
    pool: Option<DescriptorPool>,
}

impl Methods {
    pub(crate) fn new(inner: Box<dyn ServiceGenerator>, pool: Option<DescriptorPool>) -> Self {
        Self { inner, pool }
    }
}

impl ServiceGenerator for Methods {
    fn generate(&mut self, service: Service, code: &mut String) {
        let full_name = match service.package.as_str() {
            "" => service.proto_name.clone(),
            package => format!("{package}.{}", service.proto_name),
        };
        self.inner.generate(service, code);
        let known = self.pool.as_ref().and_then(|pool| pool.get_service_by_name(&full_name));
        if let Some(service) = known {
            write_record(&service, code);
        }
    }

    fn finalize(&mut self, code: &mut String) {
        self.inner.finalize(code);
    }

    fn finalize_package(&mut self, package: &str, code: &mut String) {
        self.inner.finalize_package(package, code);
    }
}

/// One module for each service, so that two services of a package never meet.
fn write_record(service: &ServiceDescriptor, code: &mut String) {
    let module = snake(service.name());
    let full_name = service.full_name();
    let name = match service.package_name() {
        "" => &module,
        package => package,
    };
    let mut lines = format!(
        "/// What a registry record says of `{full_name}`.\n\
         pub mod {module}_record {{\n\
         /// The name to announce unless another is given.\n\
         pub const NAME: &str = {name:?};\n\
         /// What can be called.\n\
         pub fn methods() -> ::std::vec::Vec<::micro_discover::Method> {{\n\
         ::std::vec![\n"
    );
    for method in service.methods() {
        let _ = writeln!(lines, "{},", self::method(service, &method));
    }
    code.push_str(&lines);
    code.push_str("]\n}\n}\n");
}

fn method(service: &ServiceDescriptor, method: &MethodDescriptor) -> String {
    let name = format!("{}.{}", service.name(), method.name());
    let path = format!("/{}/{}", service.full_name(), method.name());
    let (ups, downs) = (method.is_client_streaming(), method.is_server_streaming());
    let labels = [("stream", ups || downs), ("client_stream", ups), ("server_stream", downs)];
    let labels: String = labels
        .iter()
        .filter(|(_, holds)| *holds)
        .map(|(label, _)| format!(".metadata({label:?}, \"true\")"))
        .collect();
    format!(
        "::micro_discover::Method::new({name:?}).request({}).response({}).metadata(\"grpc\", {path:?}){labels}",
        shape(&method.input()),
        shape(&method.output()),
    )
}

/// `GreeterV2` as `greeter_v2`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut after_small = false;
    for c in name.chars() {
        if c.is_uppercase() && after_small {
            snake.push('_');
        }
        after_small = !c.is_uppercase() && c != '_';
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_as_rust_names_modules() {
        let names = ["Greeter", "GreeterV2", "HTTPProxy", "a_Service", "x"];
        assert_eq!(names.map(snake), ["greeter", "greeter_v2", "httpproxy", "a_service", "x"]);
    }
}
