//! What callers of the crate can count on.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{fs, path::Path};

use micro_build::Config;
use tempfile::TempDir;

const GREETER: &str = r#"
syntax = "proto3";
package greeter;
import "common/person.proto";

// Says hello.
service Greeter {
  rpc Hello(Request) returns (Response);
  rpc Chat(stream Request) returns (stream Response);
  rpc Lots(Request) returns (stream Response);
}

message Request {
  common.Person person = 1;
  repeated string titles = 2;
  map<string, int64> ages = 3;
}

message Response { bytes greeting = 1; Response inner = 2; }
"#;

const PERSON: &str = r#"
syntax = "proto3";
package common;
message Person { string name = 1; Person friend = 2; }
"#;

/// A directory with `greeter.proto` and what it imports.
fn directory(greeter: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("greeter.proto"), greeter).unwrap();
    fs::create_dir(directory.path().join("common")).unwrap();
    fs::write(directory.path().join("common/person.proto"), PERSON).unwrap();
    directory
}

fn compile(config: Config, directory: &Path) -> Result<String, String> {
    config
        .out_dir(directory)
        .compile([directory.join("greeter.proto")])
        .map(|()| fs::read_to_string(directory.join("greeter.rs")).unwrap())
        .map_err(|error| format!("{error:?}"))
}

#[test]
fn a_file_becomes_client_server_and_descriptor_set() {
    let directory = directory(GREETER);
    let code = compile(Config::new(), directory.path()).unwrap();
    assert!(code.contains("pub mod greeter_client") && code.contains("pub mod greeter_server"));
    assert!(!code.contains("micro_discover"), "nobody asked for methods");
    let set = fs::read(directory.path().join("greeter.bin")).unwrap();
    for file in ["greeter.proto", "common/person.proto"] {
        assert!(set.windows(file.len()).any(|window| window == file.as_bytes()), "{file}");
    }
    assert!(directory.path().join("common.rs").exists());
}

#[test]
fn what_is_switched_off_is_not_generated_and_names_can_be_chosen() {
    let directory = directory(GREETER);
    let config = Config::new().client(false).file_descriptor_set("all.descriptors");
    let code = compile(config, directory.path()).unwrap();
    assert!(!code.contains("greeter_client") && code.contains("greeter_server"));
    assert!(directory.path().join("all.descriptors").exists());
    let code = compile(Config::new().server(false), directory.path()).unwrap();
    assert!(code.contains("greeter_client") && !code.contains("greeter_server"));
}

#[test]
fn types_take_attributes_and_come_from_elsewhere() {
    let directory = directory(GREETER);
    let config = Config::new().wire(true).mock(true);
    let config = config.type_attribute(".greeter.Request", "#[derive(serde::Serialize)]");
    let code = compile(config.extern_path(".greeter.Response", "crate::Answer"), directory.path()).unwrap();
    assert!(!code.contains("pub struct Response"));
    let squeezed: String = code.split_whitespace().collect();
    let contains = |part: &str| assert!(squeezed.contains(part), "{part} in {code}");
    contains("#[derive(serde::Serialize)]#[derive(Clone,PartialEq,::prost::Message)]pubstructRequest");
    contains("->Result<crate::Answer,::micro_tower::Fault>");
}

#[test]
fn all_modules_of_a_service_are_named_alike() {
    let directory = directory(&GREETER.replace("service Greeter", "service HTTPGreeter"));
    let code = compile(Config::new().methods(true).wire(true).mock(true), directory.path()).unwrap();
    for kind in ["client", "server", "record", "wire", "mock"] {
        assert!(code.contains(&format!("pub mod http_greeter_{kind} ")), "{kind}");
    }
    assert!(code.contains("HTTPGreeter.Hello"), "the wire has the name of the file");
}

#[test]
fn a_mock_may_answer_a_method_of_any_name() {
    let directory = directory(&GREETER.replace("Hello", "Default"));
    let code = compile(Config::new().mock(true), directory.path()).unwrap();
    assert!(code.contains("pub fn default<F, R>") && !code.contains("Self::default()"), "{code}");
}

#[test]
fn methods_carry_path_streaming_and_the_outline_of_their_messages() {
    let directory = directory(GREETER);
    let code = compile(Config::new().client(false).server(false).methods(true), directory.path()).unwrap();
    let code: String = code.split_whitespace().collect();
    let contains = |part: &str| assert!(code.contains(part), "{part} in {code}");
    contains(r#"pubmodgreeter_record{"#);
    contains(r#"pubconstNAME:&str="greeter";"#);
    contains(r#"Method::new("Greeter.Hello")"#);
    contains(r#".metadata("grpc","/greeter.Greeter/Hello"),"#);
    contains(r#"/Chat").metadata("stream","true").metadata("client_stream","true")"#);
    contains(r#"/Lots").metadata("stream","true").metadata("server_stream","true")"#);
    contains(r#"Shape::new("person","Person").value("#);
    contains(r#"Shape::new("titles","[]string")"#);
    contains(r#"Shape::new("ages","map[string]int64")"#);
    contains(r#"Shape::new("greeting","bytes")"#);
}

#[test]
fn a_mistake_is_named_by_path_line_and_column() {
    let broken = directory("syntax = \"proto3\";\nmessage A {\n  string name;\n}\n");
    let error = compile(Config::new(), broken.path()).unwrap_err();
    let place = format!("{}:3:14: ", broken.path().join("greeter.proto").display());
    assert!(error.starts_with(&place), "{error}");

    let unknown = directory("syntax = \"proto3\";\nmessage A {\n  Nothing it = 1;\n}\n");
    let error = compile(Config::new(), unknown.path()).unwrap_err();
    let place = format!("{}:3:3: ", unknown.path().join("greeter.proto").display());
    assert!(error.starts_with(&place) && error.contains("Nothing"), "{error}");
}

#[test]
fn a_missing_import_is_named_where_it_is_imported() {
    let directory = directory("syntax = \"proto3\";\nimport \"absent.proto\";\n");
    let error = compile(Config::new(), directory.path()).unwrap_err();
    let place = format!("{}:2:1: ", directory.path().join("greeter.proto").display());
    assert!(error.starts_with(&place) && error.contains("absent.proto"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = micro_build::compile("proto/absent.proto").unwrap_err().to_string();
    assert!(error.starts_with("proto/absent.proto: "), "{error}");
}

#[test]
fn a_file_outside_of_the_includes_is_named() {
    let directory = directory(GREETER);
    let config = Config::new().include(directory.path().join("common"));
    let error = compile(config, directory.path()).unwrap_err();
    assert!(error.contains("greeter.proto"), "{error}");
}

#[test]
fn clients_by_name_routers_and_mocks_are_generated_for_those_who_ask() {
    let directory = directory(GREETER);
    let code = compile(Config::new().wire(true).mock(true), directory.path()).unwrap();
    let squeezed: String = code.split_whitespace().collect();
    let contains = |part: &str| assert!(squeezed.contains(part), "{part} in {code}");
    contains("pubmodgreeter_wire{");
    contains(r#"self.inner.call("/greeter.Greeter/Hello",&request).await"#);
    contains(r#"self.inner.stream("/greeter.Greeter/Chat",requests).await"#);
    contains(r#"include_bytes!("greeter.bin")"#);
    contains("pubmodgreeter_mock{");
    contains("implsuper::greeter_server::GreeterforGreeterMock{");
    contains(r#""thetestdoesnotanswerGreeter.Lots""#);

    let code = compile(Config::new().server(false).wire(true).mock(true), directory.path()).unwrap();
    assert!(
        code.contains("greeter_wire") && !code.contains("include_bytes") && !code.contains("greeter_mock")
    );
    let code = compile(Config::new(), directory.path()).unwrap();
    assert!(!code.contains("micro_tower") && !code.contains("greeter_mock"));
}
