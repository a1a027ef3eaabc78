//! The manifests of `examples/kubernetes` on a real API server: it takes every field of them, and an account with their
//! rights can do what is promised and nothing else.
//!
//! ```text
//! bash .ci/apiserver cargo test -p micro-discover --all-features --test kubernetes_rights -- --ignored --nocapture
//! ```
//!
//! Needs all rights on the server that `KUBECONFIG` names: it makes a namespace, roles, and accounts. Without nodes, what
//! the kubelet would say of a pod is written here.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/manifests.rs"]
mod manifests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::{Client, Config};
use micro_discover::{Endpoint, Kubernetes, PodAnnotations, Registry, Service, Watch};
use serde_json::{Value, json};
use tokio::time::timeout;

use manifests::documents;

const SOON: Duration = Duration::from_secs(30);

/// A namespace of its own, seen by someone who may do everything.
struct Space {
    config: Config,
    client: Client,
    name: String,
}

impl Space {
    async fn new() -> Self {
        let config = Config::infer().await.unwrap();
        let client = Client::try_from(config.clone()).unwrap();
        let space = Self { config, client, name: format!("micro-check-{:08x}", fastrand::u32(..)) };
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": space.name } });
        space.send("POST", "/api/v1/namespaces", &body).await;
        space
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let kind =
            if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(body.to_string().into_bytes()).unwrap();
        self.client.request(request).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn path(&self, group: &str, resource: &str) -> String {
        format!("{group}/namespaces/{}/{resource}", self.name)
    }

    /// Creates a document of a manifest; the server refuses a field it does not know.
    async fn create(&self, document: &Value) {
        let (group, resource) = match document["kind"].as_str().unwrap() {
            "ServiceAccount" => ("/api/v1", "serviceaccounts"),
            "Service" => ("/api/v1", "services"),
            "Deployment" => ("/apis/apps/v1", "deployments"),
            "Role" => ("/apis/rbac.authorization.k8s.io/v1", "roles"),
            "RoleBinding" => ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
            other => panic!("{other}"),
        };
        let path = self.path(group, &format!("{resource}?fieldValidation=Strict"));
        self.send("POST", &path, document).await;
    }

    /// The server as `account` of this namespace sees it.
    async fn config_of(&self, account: &str) -> Config {
        let path = self.path("/api/v1", &format!("serviceaccounts/{account}/token"));
        let ask = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
        let token = self.send("POST", &path, &ask).await["status"]["token"].as_str().unwrap().to_owned();
        let mut config = self.config.clone();
        config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
        config
    }

    async fn remove(self) {
        self.send("DELETE", &format!("/api/v1/namespaces/{}", self.name), &json!({})).await;
    }
}

fn slice(host: u8) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "greeter-a", "labels": { "kubernetes.io/service-name": "greeter" } },
        "ports": [{ "name": "grpc", "port": 80 }],
        "endpoints": [{ "addresses": [format!("10.9.0.{host}")], "conditions": { "ready": true } }],
    })
}

async fn next(watch: &mut Watch) -> Vec<String> {
    let set = timeout(SOON, watch.next()).await.expect("in time").unwrap();
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.clone()).collect()
}

#[tokio::test]
#[ignore = "needs all rights on an API server"]
async fn an_account_finds_its_services_once_the_manifest_is_applied_and_may_do_nothing_else() {
    let space = Space::new().await;
    for document in documents("greeter.yaml") {
        space.create(&document).await;
    }
    let (bindings, others): (Vec<_>, Vec<_>) =
        documents("rbac.yaml").into_iter().partition(|document| document["kind"] == "RoleBinding");
    for document in &others {
        space.create(document).await;
    }
    let config = space.config_of("greeter-client").await;
    let client = Client::try_from(config.clone()).unwrap();
    let registry = Kubernetes::from_config(config).namespace(&space.name);
    let mut watch = Watch::new(Arc::new(registry), "greeter");
    let status = watch.status();
    let refused = async {
        while status.last_error().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        status.last_error().unwrap()
    };
    let error = tokio::select! {
        error = timeout(SOON, refused) => error.expect("in time"),
        set = watch.next() => panic!("{set:?}, without the right to know"),
    };
    assert!(error.contains("forbidden") && error.contains("endpointslices"), "{error}");
    assert!(!status.resolved(), "refused is not empty");

    for document in &bindings {
        space.create(document).await;
    }
    assert!(next(&mut watch).await.is_empty(), "known to be empty");
    let slices = space.path("/apis/discovery.k8s.io/v1", "endpointslices");
    space.send("POST", &slices, &slice(1)).await;
    assert_eq!(next(&mut watch).await, ["10.9.0.1:80"]);
    space.send("PUT", &format!("{slices}/greeter-a"), &slice(2)).await;
    while next(&mut watch).await != ["10.9.0.2:80"] {}

    let more = [("DELETE", format!("{slices}/greeter-a")), ("GET", space.path("/api/v1", "pods"))];
    for (method, path) in more {
        let request = http::Request::builder().method(method).uri(path).body(Vec::new()).unwrap();
        let answer = client.request::<Value>(request).await;
        assert!(matches!(&answer, Err(kube::Error::Api(status)) if status.code == 403), "{answer:?}");
    }
    space.remove().await;
}

#[tokio::test]
#[ignore = "needs all rights on an API server"]
async fn a_pod_announces_itself_by_its_annotations_with_the_rights_of_the_manifest() {
    let space = Space::new().await;
    for document in documents("rbac-pods.yaml") {
        space.create(&document).await;
    }
    let pods = space.path("/api/v1", "pods");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "greeter-1" },
        "spec": { "containers": [{ "name": "greeter", "image": "greeter" }] },
    });
    space.send("POST", &pods, &pod).await;
    let running =
        json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    space.send("PATCH", &format!("{pods}/greeter-1/status"), &running).await;

    let registry = PodAnnotations::from_config(space.config_of("go-micro").await);
    let registry = registry.namespace(&space.name).pod("greeter-1");
    let service =
        Service::new("greeter").endpoint(Endpoint::new("greeter-1", "10.9.0.1:80".parse().unwrap()));
    let mut watch = Watch::new(Arc::new(registry.clone()), "greeter");
    assert!(next(&mut watch).await.is_empty(), "known to be empty");
    registry.announce(&service, Duration::from_secs(60)).await.unwrap();
    assert_eq!(next(&mut watch).await, ["greeter-1"]);

    let kept = space.send("GET", &format!("{pods}/greeter-1"), &json!({})).await;
    assert_eq!(kept["metadata"]["labels"]["micro.mu/type"], "service");
    let unready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    space.send("PATCH", &format!("{pods}/greeter-1/status"), &unready).await;
    assert!(next(&mut watch).await.is_empty(), "a pod that is not ready does not count");
    space.send("PATCH", &format!("{pods}/greeter-1/status"), &running).await;
    assert_eq!(next(&mut watch).await, ["greeter-1"]);
    registry.withdraw(&service).await.unwrap();
    assert!(next(&mut watch).await.is_empty());
    space.remove().await;
}
