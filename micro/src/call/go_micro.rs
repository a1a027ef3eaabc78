//! Calls of services that speak go-micro's RPC, or gRPC with JSON and no reflection: as their record says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use micro_discover::{Endpoint, Fixed, Service};
use micro_tower::transport::Connector;
use micro_tower::wire;
use micro_tower::{Client, Fault};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Status;

use super::answer::Answers;
use super::error::Error;
use super::input::{Documents, single};
use super::request::Call;

/// Whether a service's record says that it reads JSON by the names of go-micro: what its servers put there.
pub(super) fn speaks(records: &[Service]) -> bool {
    records.iter().flat_map(|record| &record.endpoints).any(is_go_micro)
}

/// Whether this endpoint does.
pub(crate) fn is_go_micro(endpoint: &Endpoint) -> bool {
    let label = |name: &str| endpoint.metadata.get(name).map(String::as_str);
    matches!((label("protocol"), label("server")), (Some("mucp"), _) | (None, Some("rpc")))
}

/// Asks one endpoint by itself, for `limit` at most: for its health, its figures.
pub(crate) async fn ask_one(
    connector: Connector,
    service: &str,
    endpoint: &Endpoint,
    method: &str,
    limit: Duration,
) -> Result<Value, Status> {
    let fixed = Fixed::new([endpoint.clone()]).map_err(|error| Status::internal(error.to_string()))?;
    let client =
        Client::builder(service, Arc::new(fixed)).connector(connector).timeout(limit).failfast(limit).build();
    known(&client).await;
    wire::Client::new(client).call_json(method, json!({})).await.map_err(Status::from)
}

/// Waits until the client knows an endpoint, which decides what it speaks: the record is there already.
async fn known(client: &Client) {
    let looked = async {
        while client.endpoints().is_empty() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    // Where none comes the call says so.
    timeout(Duration::from_secs(1), looked).await.ok();
}

/// Whether the record has the method.
pub(super) fn announced(records: &[Service], method: &str) -> bool {
    records.iter().flat_map(|record| &record.methods).any(|announced| is(&announced.name, method))
}

/// Whether the record says of the method that it streams.
pub(super) fn streams(records: &[Service], method: &str) -> bool {
    let methods = records.iter().flat_map(|record| &record.methods);
    methods
        .filter(|announced| is(&announced.name, method))
        .any(|announced| announced.metadata.get("stream").is_some_and(|stream| stream == "true"))
}

/// `Greeter.Hello` is `/greeter.Greeter/Hello` as well.
fn is(announced: &str, method: &str) -> bool {
    let short = |name: &str| {
        let dotted = name.trim_start_matches('/').replace('/', ".");
        let from = dotted.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
        dotted[from..].to_owned()
    };
    short(announced) == short(method)
}

pub(super) async fn call(
    client: Client,
    call: Call,
    documents: Documents,
    streams: bool,
) -> Result<Answers, Error> {
    known(&client).await;
    let mut client = wire::Client::new(client);
    if let Some(sent_to) = call.sent_to {
        client = client.sent_to(sent_to);
    }
    // One that is longer than the clock lasts is none.
    let end = call.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if !streams {
        let request = single(documents, &call.method).await?;
        // Its own JSON is read by the server alone: that it is JSON is known before.
        serde_json::from_slice::<serde::de::IgnoredAny>(&request)
            .map_err(|error| Error::Input(error.into()))?;
        let asked = client.call_text(&call.method, call.headers, request);
        let answer = match end {
            Some(end) => timeout_at(end, asked).await.unwrap_or_else(|_| Err(late())),
            None => asked.await,
        };
        let value = answer.map_err(failed).and_then(|answer| value(&answer));
        return Ok(Answers::texts(stream::iter([Ok(value?)])));
    }
    let (requests, wrong) = documents.values();
    let opened = client.stream_json(&call.method, call.headers, requests);
    let answers = match end {
        Some(end) => timeout_at(end, opened).await.unwrap_or_else(|_| Err(late())),
        None => opened.await,
    };
    let answers = answers.map_err(failed)?;
    let state = (answers, wrong, false);
    Ok(Answers::texts(stream::unfold(state, move |(mut answers, mut wrong, over)| async move {
        if over {
            return None;
        }
        let next = async {
            tokio::select! {
                biased;
                answer = answers.next() => answer.map(|answer| answer.map_err(failed)),
                error = wrong.error() => Some(Err(error)),
            }
        };
        let next = match end {
            Some(end) => timeout_at(end, next).await.unwrap_or_else(|_| Some(Err(failed(late())))),
            None => next.await,
        }?;
        let over = next.is_err();
        Some((next, (answers, wrong, over)))
    })))
}

fn value(answer: &Bytes) -> Result<Value, Error> {
    serde_json::from_slice(answer).map_err(|error| Error::Output(error.into()))
}

fn late() -> Fault {
    Fault::from(Status::deadline_exceeded("the time for the call is over"))
}

fn failed(fault: Fault) -> Error {
    Status::from(fault).into()
}

#[cfg(test)]
mod tests {
    use micro_discover::Method;

    use super::*;

    #[test]
    fn a_record_says_what_is_spoken_and_what_streams() {
        let endpoint = Endpoint::new("a", "h:1".parse().unwrap());
        let method = Method::new("Greeter.Stream").metadata("stream", "true");
        let plain = [Service::new("greeter").method(method).endpoint(endpoint.clone())];
        assert!(!speaks(&plain) && announced(&plain, "/greeter.Greeter/Stream"));
        assert!(streams(&plain, "Greeter.Stream") && !streams(&plain, "Greeter.Hello"));
        for (key, value, go_micro) in
            [("protocol", "mucp", true), ("server", "rpc", true), ("protocol", "grpc", false)]
        {
            let endpoint = endpoint.clone().metadata(key, value);
            assert_eq!(speaks(&[Service::new("greeter").endpoint(endpoint)]), go_micro);
        }
    }
}
