//! Writes what is asked for beside tonic's code, after it; of it, what a registry record says of a service.

use std::fmt::Write;

use prost_build::{Service, ServiceGenerator};
use protox::prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use crate::{mock::write_mock, names::snake, shape::shape, wire::write_wire};

/// Generates what `inner` does, and what is asked for besides.
pub(crate) struct Methods {
    pub(crate) inner: Box<dyn ServiceGenerator>,
    /// For a record.
    pub(crate) pool: Option<DescriptorPool>,
    pub(crate) wire: bool,
    pub(crate) mock: bool,
    /// The descriptor set, as seen from generated code that has servers.
    pub(crate) descriptors: Option<String>,
}

impl ServiceGenerator for Methods {
    fn generate(&mut self, service: Service, code: &mut String) {
        let full_name = match service.package.as_str() {
            "" => service.proto_name.clone(),
            package => format!("{package}.{}", service.proto_name),
        };
        let known = self.pool.as_ref().and_then(|pool| pool.get_service_by_name(&full_name));
        self.inner.generate(service.clone(), code);
        if let Some(known) = known {
            write_record(&known, &snake(&service.name), code);
        }
        if self.wire {
            write_wire(&service, self.descriptors.as_deref(), code);
        }
        if self.mock {
            write_mock(&service, code);
        }
    }

    fn finalize(&mut self, code: &mut String) {
        self.inner.finalize(code);
    }

    fn finalize_package(&mut self, package: &str, code: &mut String) {
        self.inner.finalize_package(package, code);
    }
}

/// One module for each service, so that two services of a package never meet; named as tonic names its own.
fn write_record(service: &ServiceDescriptor, module: &str, code: &mut String) {
    let full_name = service.full_name();
    let name = match service.package_name() {
        "" => module,
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
