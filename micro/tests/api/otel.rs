//! Spans for OpenTelemetry.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use micro_discover::Service as Record;
use prost::Message;
use rustix::process::Signal;

use crate::face::Face;
use crate::program::Place;
use crate::service::{Services, grpc_body};
use crate::shop;

// What is looked at of OTLP's messages, by the numbers of their fields.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(int64, tag = "3")]
    number: i64,
}

fn text(attributes: &[Attribute], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.clone()).unwrap_or_default();
    if value.text.is_empty() { value.number.to_string() } else { value.text }
}

/// Takes spans: where it listens, and what comes.
fn collector(services: &Services) -> (String, Receiver<Export>) {
    let (spans, taken) = channel();
    let address = services.serve_raw(Record::new("collector"), move |request| {
        let spans = spans.clone();
        async move {
            if request.uri().path() != "/opentelemetry.proto.collector.trace.v1.TraceService/Export" {
                return tonic::Status::unimplemented("it takes spans").into_http();
            }
            let body = request.into_body().collect().await.unwrap().to_bytes();
            spans.send(Export::decode(&body[5..]).unwrap()).unwrap();
            let none = Bytes::from_static(&[0; 5]);
            Response::builder()
                .header("content-type", "application/grpc")
                .body(grpc_body(vec![none], &[("grpc-status", "0")]))
                .unwrap()
        }
    });
    (format!("http://{address}"), taken)
}

#[test]
fn each_request_is_a_span_below_its_callers_and_above_its_services() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let (endpoint, spans) = collector(&services);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SERVICE_NAME", "edge")];
    let mut face = Face::with(&place, &[], &variables);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n");
    let answer = face.ask("GET", "/foo/x?secret", &parent, b"");
    let heard = answer.text().lines().find_map(|line| line.strip_prefix("traceparent: ").map(str::to_owned));
    let heard = heard.unwrap();
    assert!(heard.starts_with(&format!("00-{trace}-")) && heard.ends_with("-01"), "{heard}");
    assert!(!heard.contains("00f067aa0ba902b7"), "the service stands below the gateway: {heard}");
    // What was not sent is sent before the end.
    face.signal(Signal::TERM);
    assert_eq!(face.end().0, Some(0));

    let export = spans.recv_timeout(Duration::from_secs(30)).unwrap();
    let resource = &export.resources[0];
    assert_eq!(text(&resource.resource.as_ref().unwrap().attributes, "service.name"), "edge");
    let span = &resource.scopes[0].spans[0];
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((hex(&span.trace).as_str(), hex(&span.parent).as_str()), (trace, "00f067aa0ba902b7"));
    assert_eq!(heard, format!("00-{trace}-{}-01", hex(&span.id)));
    assert_eq!(span.name, "GET");
    assert_eq!(text(&span.attributes, "http.response.status_code"), "200");
    assert_eq!(text(&span.attributes, "url.path"), "/foo/x");
}

#[test]
fn a_request_through_the_sidecar_is_a_span_too_whether_it_is_passed_on_or_a_call() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    shop::open(&services);
    let (endpoint, spans) = collector(&services);
    let mut command = place.command(&["sidecar", "--address", "127.0.0.1:0"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let mut face = Face::running("sidecar", place.spawn(&mut command));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    let heard = face.ask("GET", "/foo/x", &parent, b"").text();
    assert!(
        heard.contains(&format!("traceparent: 00-{trace}-")) && !heard.contains("00f067aa0ba902b7"),
        "{heard}"
    );
    let kind = format!("{parent}content-type: application/json\r\n");
    assert_eq!(face.ask("POST", "/shop/shop/plain", &kind, br#"{"name":"a"}"#).status, 200);
    face.signal(Signal::TERM);
    assert_eq!(face.end().0, Some(0));
    let mut paths = Vec::new();
    while paths.len() < 2 {
        let export = spans.recv_timeout(Duration::from_secs(30)).unwrap();
        let all =
            export.resources.iter().flat_map(|resource| &resource.scopes).flat_map(|scope| &scope.spans);
        paths.extend(all.map(|span| text(&span.attributes, "url.path")));
    }
    paths.sort();
    assert_eq!(paths, ["/foo/x", "/shop/shop/plain"]);
}

#[test]
fn without_the_variables_headers_go_through_and_what_cannot_be_is_said() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let face = Face::with(&place, &[], &[("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "otlp")]);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = face.ask("GET", "/foo/x", &format!("traceparent: {parent}\r\n"), b"");
    assert!(answer.text().contains(parent));
    let mut command = place.command(&["api", "--address", "127.0.0.1:0"]);
    command.env("OTEL_TRACES_EXPORTER", "otlp").env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&output.stderr).contains("over gRPC, and not over http/protobuf"));
}
