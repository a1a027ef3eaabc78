//! Spans of OpenTelemetry for the requests of a gateway, sent by OTLP over gRPC, as the variables `OTEL_*` say.
//!
//! | variable | says |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_TRACES_ENDPOINT` | where to, such as `http://127.0.0.1:4317`; without one there are no spans |
//! | `OTEL_TRACES_EXPORTER` | `otlp` sends to this machine's 4317; `none` sends nothing |
//! | `OTEL_SDK_DISABLED` | `true` sends nothing |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | what the gateway is called: `micro` |
//! | `OTEL_TRACES_SAMPLER`, `…_ARG` | which requests; what the caller says, or else all of them |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `…_TIMEOUT`, `OTEL_BSP_*` | as OpenTelemetry has them |
//!
//! `traceparent` and `tracestate` are read and set, so a service's own spans stand below the gateway's.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version, header};
use micro_balance::classify::{grpc_status, is_grpc};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use tonic::body::Body;

use crate::api::{Observed, Observer};
use crate::proxy::Peer;

/// Makes a span of each request. Clones share what sends them.
#[derive(Clone)]
pub struct Spans {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// What the environment says cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// OTLP over something else than gRPC.
    #[error("spans are sent over gRPC, and not over {0} (OTEL_EXPORTER_OTLP_PROTOCOL)")]
    Protocol(String),
    /// The endpoint or what belongs to it.
    #[error("spans cannot be sent where OTEL_EXPORTER_OTLP_ENDPOINT says")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

impl Spans {
    /// What the environment says; none where it says nothing.
    ///
    /// # Errors
    ///
    /// [`Unusable`].
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, where nothing can be sent.
    pub fn from_environment() -> Result<Option<Self>, Unusable> {
        let says = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let first = |names: [&str; 2]| names.into_iter().find_map(says);
        let exporter = says("OTEL_TRACES_EXPORTER");
        let endpoint = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
        let off = says("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let wanted = match exporter.as_deref() {
            Some(exporter) => exporter.split(',').any(|one| one.trim() == "otlp"),
            None => endpoint.is_some(),
        };
        if off || !wanted {
            return Ok(None);
        }
        let protocol = first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        if let Some(protocol) = protocol.filter(|protocol| protocol != "grpc") {
            return Err(Unusable::Protocol(protocol));
        }
        let exporter = SpanExporter::builder().with_tonic().build().map_err(Unusable::Exporter)?;
        let resource = Resource::builder();
        let named = says("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|list| list.contains("service.name="));
        let resource = match named || says("OTEL_SERVICE_NAME").is_some() {
            true => resource,
            false => resource.with_service_name("micro"),
        };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        let provider = provider.with_resource(resource.build()).build();
        let tracer = provider.tracer("micro");
        Ok(Some(Self { provider, tracer, propagator: TraceContextPropagator::new() }))
    }

    /// Sends what has not been sent, for `limit` at most. There are no spans after it.
    pub async fn close(&self, limit: Duration) {
        let provider = self.provider.clone();
        // What sends works on this runtime, and is waited for in another thread.
        let closing = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not sent"),
            Err(error) => tracing::warn!(%error, "the last spans were not sent"),
        }
    }
}

impl Observer for Spans {
    fn begin(&self, request: &mut Request<Body>, peer: &Peer) -> Box<dyn Observed> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(request.headers()));
        let grpc = is_grpc(request.headers());
        // A name is to be one of few: paths of HTTP are as many as there are things.
        let name = match grpc {
            true => request.uri().path().trim_start_matches('/').to_owned(),
            false => request.method().to_string(),
        };
        let span = self.tracer.span_builder(name).with_kind(SpanKind::Server);
        let span = span.with_attributes(attributes(request, peer, grpc));
        let span = span.start_with_context(&self.tracer, &parent);
        let own = Context::new().with_remote_span_context(span.span_context().clone());
        self.propagator.inject_context(&own, &mut Carried(request.headers_mut()));
        Box::new(One { span, grpc })
    }
}

fn attributes(request: &Request<Body>, peer: &Peer, grpc: bool) -> Vec<KeyValue> {
    let text = |name| {
        let value = request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        value.map(str::to_owned)
    };
    let host = request.uri().authority().map(|authority| authority.to_string());
    let version = match request.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let mut attributes = vec![
        KeyValue::new("http.request.method", request.method().to_string()),
        KeyValue::new("url.path", request.uri().path().to_owned()),
        KeyValue::new("url.scheme", if peer.tls { "https" } else { "http" }),
        KeyValue::new("network.protocol.version", version),
    ];
    let optional = [
        ("server.address", host.or_else(|| text(header::HOST))),
        ("client.address", peer.address.map(|address| address.ip().to_string())),
        ("user_agent.original", text(header::USER_AGENT)),
        ("rpc.system.name", grpc.then(|| "grpc".to_owned())),
    ];
    attributes.extend(optional.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value?))));
    attributes
}

/// The span of one request, which ends with it.
struct One {
    span: Span,
    grpc: bool,
}

impl One {
    fn grpc_status(&mut self, headers: &HeaderMap) {
        let Some(code) = grpc_status(headers).filter(|_| self.grpc) else { return };
        self.span.set_attribute(KeyValue::new("rpc.response.status_code", code.to_string()));
        // What the service could not do, rather than what it was asked in vain.
        if matches!(code, 2 | 4 | 12 | 13 | 14 | 15) {
            self.span.set_status(Status::error(format!("gRPC status {code}")));
        }
    }
}

impl Observed for One {
    fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            self.span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            self.span.set_status(Status::error(""));
        }
        self.grpc_status(headers);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.grpc_status(trailers);
    }
}

/// Headers to read from.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Headers to write to.
struct Carried<'a>(&'a mut HeaderMap);

impl Injector for Carried<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spans")
    }
}
