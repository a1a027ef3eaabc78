//! What one endpoint says of itself.

use std::time::Duration;

use http::uri::PathAndQuery;
use micro_discover::Endpoint;
use micro_tower::transport::{Connection, Connector, HttpVersion};
use prost::Message;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tonic::client::Grpc;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tower::ServiceExt;

use super::reply::{Measured, State};
use crate::call::{ask_one, is_go_micro};
use crate::causes::root;

/// `Debug.Stats`, as go-micro v1 and later number it.
#[derive(Clone, PartialEq, Message)]
struct Stats {
    #[prost(uint64, tag = "2")]
    started: u64,
    #[prost(uint64, tag = "3")]
    uptime: u64,
    #[prost(uint64, tag = "4")]
    memory: u64,
    #[prost(uint64, tag = "5")]
    threads: u64,
    #[prost(uint64, tag = "6")]
    gc: u64,
    #[prost(uint64, tag = "7")]
    requests: u64,
    #[prost(uint64, tag = "8")]
    errors: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

const STATS: &str = "/Debug/Stats";

/// Asks the endpoint for its figures, and where it keeps none whether it serves; for `limit` at most.
pub(super) async fn measure(
    connector: &Connector,
    service: &str,
    version: &str,
    endpoint: &Endpoint,
    limit: Duration,
) -> Measured {
    let connector = connector.clone().connect_timeout(limit).service(service);
    let mut measured = Measured {
        service: service.to_owned(),
        version: version.to_owned(),
        id: endpoint.id.clone(),
        address: endpoint.address.to_string(),
        state: State::Timeout,
        ..Measured::default()
    };
    if is_go_micro(endpoint) {
        by_json(connector, endpoint, &mut measured, limit).await;
        return measured;
    }
    let connector = connector.http_version(HttpVersion::Http2);
    let asked = ask(connector.connect(endpoint), &mut measured);
    if timeout(limit, asked).await.is_err() {
        measured.error = Some(format!("no answer within {limit:?}"));
    }
    measured
}

/// As go-micro's servers are asked.
async fn by_json(connector: Connector, endpoint: &Endpoint, measured: &mut Measured, limit: Duration) {
    let began = Instant::now();
    let answer = ask_one(connector, &measured.service, endpoint, "Debug.Stats", limit).await;
    measured.latency_ms = Some((began.elapsed().as_secs_f64() * 1e6).round() / 1e3);
    match answer {
        Ok(stats) => {
            let number = |name: &str| stats.get(name).and_then(Value::as_u64);
            measured.state = State::Serving;
            measured.started = number("started");
            measured.uptime_seconds = number("uptime");
            measured.memory_bytes = number("memory");
            measured.threads = number("threads");
            measured.gc_nanoseconds = number("gc");
            measured.requests = number("requests");
            measured.errors = number("errors");
        }
        Err(status) => {
            measured.state = match status.code() {
                Code::Unavailable => State::Unreachable,
                Code::DeadlineExceeded => State::Timeout,
                Code::Unimplemented | Code::NotFound => State::Unimplemented,
                _ => State::Failed,
            };
            measured.error = Some(status.message().to_owned());
        }
    }
}

async fn ask(mut connection: Connection, measured: &mut Measured) {
    if let Err(error) = ServiceExt::ready(&mut connection).await {
        measured.state = State::Unreachable;
        measured.error = Some(root(&*error));
        return;
    }
    let began = Instant::now();
    let mut grpc = Grpc::new(connection.clone());
    let codec: ProstCodec<Nothing, Stats> = ProstCodec::default();
    let answer = match grpc.ready().await {
        Ok(()) => grpc.unary(Request::new(Nothing {}), PathAndQuery::from_static(STATS), codec).await,
        Err(error) => Err(tonic::Status::from_error(error)),
    };
    measured.latency_ms = Some((began.elapsed().as_secs_f64() * 1e6).round() / 1e3);
    match answer {
        Ok(answer) => {
            let stats = answer.into_inner();
            measured.state = State::Serving;
            measured.started = Some(stats.started);
            measured.uptime_seconds = Some(stats.uptime);
            measured.memory_bytes = Some(stats.memory);
            measured.threads = Some(stats.threads);
            measured.gc_nanoseconds = Some(stats.gc);
            measured.requests = Some(stats.requests);
            measured.errors = Some(stats.errors);
        }
        Err(status) if status.code() == Code::Unimplemented => health(connection, measured).await,
        Err(status) => {
            measured.state = State::Failed;
            measured.error = Some(status.message().to_owned());
        }
    }
}

/// One that keeps no figures may still say whether it serves.
async fn health(connection: Connection, measured: &mut Measured) {
    let began = Instant::now();
    let answer = HealthClient::new(connection).check(HealthCheckRequest::default()).await;
    measured.latency_ms = Some((began.elapsed().as_secs_f64() * 1e6).round() / 1e3);
    measured.state = match answer.map(|answer| answer.into_inner().status()) {
        Ok(ServingStatus::Serving) => State::Serving,
        Ok(ServingStatus::NotServing) => State::NotServing,
        Ok(ServingStatus::ServiceUnknown) => State::ServiceUnknown,
        Ok(ServingStatus::Unknown) => State::Unknown,
        Err(status) if status.code() == Code::Unimplemented => State::Unimplemented,
        Err(_) => State::Failed,
    };
}
