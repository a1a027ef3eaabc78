//! `/registry`: which services there are, and announcing others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use micro_discover::{Error, Service};
use serde_json::Value;
use tokio::time::timeout;

use super::held::Refused;
use super::record;
use super::state::Inner;
use super::watching;
use crate::duration;

/// How long a registry may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

type Fields = Query<HashMap<String, String>>;

/// `GET`: every service, the versions of one, or either as it changes.
pub(super) async fn find(
    State(inner): State<Arc<Inner>>,
    Query(query): Fields,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let service = query.get("service").filter(|name| !name.is_empty());
    match upgrade {
        Ok(upgrade) => return watching::socket(inner, service.cloned(), upgrade),
        Err(wrong) if headers.contains_key(header::UPGRADE) => return wrong.into_response(),
        Err(_) if query.contains_key("watch") => return watching::events(&inner, service.cloned()),
        Err(_) => {}
    }
    let asked = async {
        match service {
            Some(name) => inner.registry.get(name).await,
            None => inner.registry.list().await,
        }
    };
    match timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(found)) if service.is_some() && found.iter().all(|one| one.endpoints.is_empty()) => missing(),
        // No service can have this name.
        Ok(Err(Error::Invalid { .. })) if service.is_some() => missing(),
        Ok(Ok(found)) => Json(written(&found)).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => late(),
    }
}

/// `POST`: announces a record, once for `ttl` or else until it is withdrawn.
pub(super) async fn announce(State(inner): State<Arc<Inner>>, Query(query): Fields, body: Bytes) -> Response {
    let service = match record::read(&body) {
        Ok(service) => service,
        Err(what) => return (StatusCode::BAD_REQUEST, what).into_response(),
    };
    let Some(ttl) = query.get("ttl").filter(|ttl| !ttl.is_empty()) else {
        return match inner.held.hold(&inner.registry, service).await {
            Ok(()) => StatusCode::OK.into_response(),
            Err(Refused::Registry(error)) => failed(&error),
            Err(Refused::Full) => {
                (StatusCode::SERVICE_UNAVAILABLE, "this sidecar holds as many records as it may")
                    .into_response()
            }
        };
    };
    let Some(ttl) = duration::parse(ttl).ok().filter(|ttl| !ttl.is_zero()) else {
        let what = format!("ttl {ttl:?} is no duration such as 10s or 1m30s");
        return (StatusCode::BAD_REQUEST, what).into_response();
    };
    answered(inner.registry.announce(&service, ttl)).await
}

/// `DELETE`: withdraws the endpoints that a record names.
pub(super) async fn withdraw(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let (name, ids) = match record::read_ids(&body) {
        Ok(named) => named,
        Err(what) => return (StatusCode::BAD_REQUEST, what).into_response(),
    };
    inner.held.drop_ids(&name, &ids).await;
    // A registry withdraws what is still as it was announced, so it is asked how that was.
    let found = match timeout(ANSWER_WITHIN, inner.registry.get(&name)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return failed(&error),
        Err(_) => return late(),
    };
    for mut service in found {
        service.endpoints.retain(|endpoint| ids.contains(&endpoint.id));
        if !service.endpoints.is_empty() {
            let response = answered(inner.registry.withdraw(&service)).await;
            if !response.status().is_success() {
                return response;
            }
        }
    }
    StatusCode::OK.into_response()
}

async fn answered(asked: impl Future<Output = Result<(), Error>>) -> Response {
    match timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => late(),
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "Service not found\n").into_response()
}

fn late() -> Response {
    let what = format!("the registry did not answer within {ANSWER_WITHIN:?}");
    (StatusCode::INTERNAL_SERVER_ERROR, what).into_response()
}

fn failed(error: &Error) -> Response {
    let status = match error {
        Error::Invalid { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, crate::causes::chain(error)).into_response()
}

/// In order, so that the same services are the same text.
pub(super) fn written(services: &[Service]) -> Value {
    let mut services: Vec<_> = services.iter().collect();
    services.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    services.into_iter().map(record::write).collect()
}
