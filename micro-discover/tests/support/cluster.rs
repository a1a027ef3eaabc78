//! An API server that keeps EndpointSlices: what is written is listed, watched and numbered, as in a cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::apiserver::{ApiServer, Events, Exchange};

/// Serves until the test's runtime ends.
pub(crate) struct Cluster {
    url: String,
}

#[derive(Clone)]
struct Store {
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    slices: BTreeMap<String, Value>,
    /// Everything that has happened: at which version, what, and the slice after it.
    log: Vec<(u64, &'static str, Value)>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let server = ApiServer::start().await;
        let url = server.config().cluster_url.to_string();
        let store = Store { state: Arc::default(), version: watch::Sender::new(1) };
        tokio::spawn(async move {
            loop {
                let exchange = server.take().await;
                tokio::spawn(serve(store.clone(), exchange));
            }
        });
        Self { url }
    }

    /// A kubeconfig that names this server, in JSON, which is YAML.
    pub(crate) fn kubeconfig(&self, namespace: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "stand-in", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": {"token": "t"}}],
            "contexts": [{
                "name": "here",
                "context": {"cluster": "stand-in", "user": "tester", "namespace": namespace},
            }],
        })
        .to_string()
    }
}

async fn serve(store: Store, exchange: Exchange) {
    let target = exchange.target.clone();
    let (method, place) = target.split_once(' ').unwrap();
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let name = path.rsplit_once("/endpointslices").unwrap().1.trim_start_matches('/');
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let service = parameter("labelSelector").split_once("%3D").map_or("", |(_, name)| name).to_owned();
    match method {
        "GET" if exchange.is_watch() => {
            let (mut events, mut from) =
                (exchange.open().await, parameter("resourceVersion").parse().unwrap_or(0));
            if target.contains("sendInitialEvents=true") {
                let (slices, version) = store.now(&service);
                for slice in slices {
                    events.event("ADDED", &slice.to_string()).await;
                }
                events.bookmark(version, true).await;
                from = version;
            }
            store.follow(&service, from, events).await;
        }
        "GET" => {
            let (items, version) = store.now(&service);
            let list = json!({"metadata": {"resourceVersion": version.to_string()}, "items": items});
            exchange.json(&list.to_string()).await;
        }
        "DELETE" => {
            store.change(name, |slices| slices.remove(name).map(|slice| ("DELETED", slice)));
            exchange.json("{}").await;
        }
        _ => {
            let mut slice: Value = serde_json::from_str(&exchange.body).unwrap();
            let name = slice["metadata"]["name"].as_str().unwrap().to_owned();
            let kind = if method == "POST" { "ADDED" } else { "MODIFIED" };
            store.change(&name, |slices| {
                let before = slices.get(&name).map(|before| before["metadata"]["uid"].clone());
                slice["metadata"]["uid"] = before.unwrap_or_else(|| fastrand::u32(..).to_string().into());
                Some((kind, slice))
            });
            exchange.json("{}").await;
        }
    }
}

fn is_of(slice: &Value, service: &str) -> bool {
    service.is_empty() || slice["metadata"]["labels"]["kubernetes.io/service-name"] == service
}

impl Store {
    /// The slices of `service`, or all, and the version they are of.
    fn now(&self, service: &str) -> (Vec<Value>, u64) {
        let state = self.state.lock().unwrap();
        let found = state.slices.values().filter(|slice| is_of(slice, service)).cloned().collect();
        (found, *self.version.borrow())
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, Value>) -> Option<(&'static str, Value)>,
    ) {
        let mut state = self.state.lock().unwrap();
        let Some((kind, mut slice)) = change(&mut state.slices) else { return };
        let version = *self.version.borrow() + 1;
        slice["metadata"]["resourceVersion"] = version.to_string().into();
        if kind != "DELETED" {
            state.slices.insert(name.to_owned(), slice.clone());
        }
        state.log.push((version, kind, slice));
        self.version.send_replace(version);
    }

    /// Tells what happens after version `from`, until nobody listens.
    async fn follow(&self, service: &str, mut from: u64, mut events: Events) {
        let mut version = self.version.subscribe();
        loop {
            version.borrow_and_update();
            let news: Vec<_> = {
                let state = self.state.lock().unwrap();
                let new = |(at, _, slice): &&(u64, &str, Value)| *at > from && is_of(slice, service);
                state.log.iter().filter(new).cloned().collect()
            };
            for (at, kind, slice) in news {
                from = at;
                if !events.tell(kind, &slice.to_string()).await {
                    return;
                }
            }
            if version.changed().await.is_err() {
                return;
            }
        }
    }
}
