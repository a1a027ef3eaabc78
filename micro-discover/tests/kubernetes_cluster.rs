//! The Kubernetes registry against the API server that `KUBECONFIG` names, or the cluster this runs in.
//!
//! ```text
//! KUBECONFIG=… cargo test -p micro-discover --all-features --test kubernetes_cluster -- --ignored --nocapture
//! ```
//!
//! The same checks run against an API server that keeps slices in memory, over TLS, by a kubeconfig file of its own.
//!
//! Writes `EndpointSlices` of Services that do not exist into the config's own namespace, and removes them. Needs all
//! verbs on `endpointslices` there; no pod is started.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/apiserver.rs"]
mod apiserver;
#[path = "support/cluster.rs"]
mod cluster;

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::Client;
use micro_discover::{Error, Initial, Kubernetes, Registry, Service, open};
use serde_json::{Value, json};

type Sets = futures_core::stream::BoxStream<'static, Result<Vec<Service>, Error>>;

/// Slices of one Service, which are removed by name at the end.
struct Slices {
    client: Client,
    service: String,
}

impl Slices {
    async fn new(name: &str) -> Self {
        let service = format!("micro-check-{name}-{:08x}", fastrand::u32(..));
        Self { client: Client::try_default().await.unwrap(), service }
    }

    fn path(&self, slice: &str) -> String {
        let namespace = self.client.default_namespace();
        let all = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        if slice.is_empty() { all } else { format!("{all}/{}-{slice}", self.service) }
    }

    async fn send(&self, method: &str, slice: &str, body: &Value) {
        let request = http::Request::builder().method(method).uri(self.path(slice));
        let request = request.header("content-type", "application/json").body(body.to_string().into_bytes());
        let _answer: Value = self.client.request(request.unwrap()).await.unwrap();
    }

    fn body(&self, slice: &str, endpoints: &Value) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("{}-{slice}", self.service),
                "labels": { "kubernetes.io/service-name": self.service, "endpointslice.kubernetes.io/managed-by": "micro" },
            },
            "ports": [{ "name": "grpc", "port": 80, "protocol": "TCP" }],
            "endpoints": endpoints,
        })
    }

    async fn create(&self, slice: &str, endpoints: &Value) {
        self.send("POST", "", &self.body(slice, endpoints)).await;
    }

    async fn replace(&self, slice: &str, endpoints: &Value) {
        self.send("PUT", slice, &self.body(slice, endpoints)).await;
    }

    async fn delete(&self, slice: &str) {
        self.send("DELETE", slice, &json!({})).await;
    }

    fn watch(&self, initial: Initial) -> Sets {
        Kubernetes::infer().initial(initial).watch(&self.service)
    }
}

fn endpoint(host: u8, ready: bool, terminating: bool) -> Value {
    let conditions = json!({ "ready": ready, "serving": ready || terminating, "terminating": terminating });
    json!({ "addresses": [format!("10.9.0.{host}")], "conditions": conditions })
}

async fn next(sets: &mut Sets) -> Vec<String> {
    let set = tokio::time::timeout(Duration::from_secs(30), sets.next()).await.expect("in time");
    let set = set.expect("a watch goes on").unwrap();
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.clone()).collect()
}

#[tokio::test]
async fn the_checks_hold_for_the_stand_in_that_a_kubeconfig_file_names() {
    let server = cluster::Cluster::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    std::fs::write(&file, server.kubeconfig("shop")).unwrap();
    let checks = tokio::task::spawn_blocking(move || {
        let mut this = Command::new(std::env::current_exe().unwrap());
        this.args(["--ignored", "--nocapture"]).env("KUBECONFIG", file).output().unwrap()
    });
    let checks = checks.await.unwrap();
    let said = String::from_utf8_lossy(&checks.stdout).into_owned();
    println!("{said}");
    assert!(checks.status.success(), "{said}{}", String::from_utf8_lossy(&checks.stderr));
    assert!(said.contains("4 passed"), "{said}");
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_set_is_what_is_ready_in_all_slices_however_it_is_learnt() {
    for initial in [Initial::WatchList, Initial::List] {
        let slices = Slices::new("sets").await;
        let mut sets = slices.watch(initial);
        assert!(next(&mut sets).await.is_empty(), "known to be empty");
        slices.create("a", &json!([endpoint(1, true, false), endpoint(2, false, false)])).await;
        assert_eq!(next(&mut sets).await, ["10.9.0.1:80"]);
        slices.create("b", &json!([endpoint(3, true, false)])).await;
        assert_eq!(next(&mut sets).await, ["10.9.0.1:80", "10.9.0.3:80"]);
        assert_eq!(
            next(&mut slices.watch(initial)).await,
            ["10.9.0.1:80", "10.9.0.3:80"],
            "one who comes later"
        );
        slices.replace("a", &json!([endpoint(1, false, true)])).await;
        assert_eq!(next(&mut sets).await, ["10.9.0.3:80"]);
        slices.replace("b", &json!([endpoint(3, false, false)])).await;
        assert_eq!(next(&mut sets).await, ["10.9.0.1:80"], "who shuts down stands in where nobody is ready");
        // A slice that is made anew is no gap.
        slices.replace("a", &json!([endpoint(1, true, false)])).await;
        slices.delete("a").await;
        slices.create("a", &json!([endpoint(1, true, false)])).await;
        slices.create("c", &json!([endpoint(4, true, false)])).await;
        loop {
            let set = next(&mut sets).await;
            assert!(set.contains(&"10.9.0.1:80".to_owned()), "{set:?}");
            if set.len() == 2 {
                break;
            }
        }
        for slice in ["a", "b", "c"] {
            slices.delete(slice).await;
        }
        while !next(&mut sets).await.is_empty() {}
    }
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_thousand_endpoints_arrive_at_once_and_a_change_of_one_soon() {
    let slices = Slices::new("many").await;
    let many = |turn: u8| {
        let all = (0..1_000_u16).map(|n| {
            let [high, low] = n.to_be_bytes();
            let ready = low != 7 || turn == 0;
            json!({ "addresses": [format!("10.9.{high}.{low}")], "conditions": { "ready": ready } })
        });
        Value::Array(all.collect())
    };
    slices.create("a", &many(0)).await;
    let mut sets = slices.watch(Initial::default());
    assert_eq!(next(&mut sets).await.len(), 1_000);
    for turn in 1..=10 {
        let start = Instant::now();
        slices.replace("a", &many(turn % 2)).await;
        let length = next(&mut sets).await.len();
        println!("{length} endpoints {:?} after the write was sent", start.elapsed());
        assert_eq!(length, if turn % 2 == 1 { 996 } else { 1_000 });
    }
    slices.delete("a").await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_watch_that_ends_every_second_misses_nothing_and_says_nothing_twice() {
    let slices = Slices::new("short").await;
    let first = |hosts: u8| (1..=hosts).map(|host| endpoint(host, true, false)).collect();
    slices.create("a", &Value::Array(first(1))).await;
    let registry = Kubernetes::infer().watch_timeout(Duration::from_secs(1));
    let mut sets = registry.watch(&slices.service);
    assert_eq!(next(&mut sets).await.len(), 1);
    for hosts in 2..=5 {
        // Some changes meet a watch, and some the moment between two.
        tokio::time::sleep(Duration::from_millis(700)).await;
        slices.replace("a", &Value::Array(first(hosts))).await;
        assert_eq!(next(&mut sets).await.len(), usize::from(hosts));
    }
    slices.delete("a").await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_url_names_the_port_and_family_and_a_service_is_listed_while_it_has_endpoints() {
    let slices = Slices::new("url").await;
    let mut six =
        slices.body("six", &json!([{ "addresses": ["fd00::9"], "nodeName": "n", "hostname": "h" }]));
    six["addressType"] = "IPv6".into();
    let mut four =
        slices.body("four", &json!([{ "addresses": ["10.9.0.9"], "nodeName": "n", "hostname": "h" }]));
    four["ports"] = json!([{ "name": "grpc", "port": 80 }, { "name": "metrics", "port": 90 }]);
    slices.send("POST", "", &four).await;
    slices.send("POST", "", &six).await;
    let namespace = slices.client.default_namespace();
    for (query, wanted) in [
        ("port=grpc", "10.9.0.9:80"),
        ("port=metrics", "10.9.0.9:90"),
        ("port=grpc&family=prefer-ipv6&initial=list", "[fd00::9]:80"),
    ] {
        let registry = open(&format!("kubernetes://{namespace}?{query}")).unwrap();
        let found = registry.get(&slices.service).await.unwrap();
        let addresses: Vec<_> =
            found[0].endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
        assert_eq!(addresses, [wanted], "a pod of two families is one endpoint");
        let listed = registry.list().await.unwrap();
        assert!(listed.iter().any(|service| service.name == slices.service), "{listed:?}");
    }
    slices.delete("six").await;
    slices.delete("four").await;
    let registry = open(&format!("kubernetes://{namespace}")).unwrap();
    assert!(registry.list().await.unwrap().iter().all(|service| service.name != slices.service));
}
