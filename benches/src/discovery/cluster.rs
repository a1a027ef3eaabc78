//! A real API server: many endpoints, beside kube's own list.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Client, Config, api::PostParams};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::BoxError;

use super::{
    compared,
    kubernetes::{lists, many},
};
use crate::{bar::Bar, options::Options, report::Report};

/// Measures the server that `KUBECONFIG` names, in its own namespace, where it writes a hundred slices of a Service `big` that
/// does not exist, and removes them.
pub(super) fn run(runtime: &Runtime, options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    if std::env::var_os("KUBECONFIG").is_none() {
        report.say("skipped: no KUBECONFIG names a real API server, as .ci/apiserver does");
        return Ok(Vec::new());
    }
    let client = runtime.block_on(async { Ok::<_, BoxError>(Client::try_from(Config::infer().await?)?) })?;
    let version = runtime.block_on(client.apiserver_version())?;
    report.say(format!("a real API server, Kubernetes {}.{}, over TLS", version.major, version.minor));
    let slices = many()?;
    let slices = slices["items"].as_array().ok_or("a list has items")?;
    runtime.block_on(write(&client, slices))?;
    let namespace = client.default_namespace().to_owned();
    let pair = lists(runtime, options, &client, &namespace);
    runtime.block_on(remove(&client, slices))?;
    Ok(vec![compared("cluster-10k", "kube list", &pair?, 1.25, report)])
}

fn slices_of(client: &Client) -> kube::Api<EndpointSlice> {
    kube::Api::default_namespaced(client.clone())
}

fn name(slice: &Value) -> &str {
    slice["metadata"]["name"].as_str().unwrap_or_default()
}

async fn write(client: &Client, slices: &[Value]) -> Result<(), BoxError> {
    for slice in slices {
        let mut slice = slice.clone();
        slice["metadata"] = json!({
            "name": name(&slice),
            "labels": { "kubernetes.io/service-name": "big", "endpointslice.kubernetes.io/managed-by": "micro" },
        });
        slices_of(client).create(&PostParams::default(), &serde_json::from_value(slice)?).await?;
    }
    Ok(())
}

async fn remove(client: &Client, slices: &[Value]) -> Result<(), BoxError> {
    for slice in slices {
        slices_of(client).delete(name(slice), &Default::default()).await?;
    }
    Ok(())
}
