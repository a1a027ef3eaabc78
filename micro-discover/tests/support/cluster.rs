//! An API server that keeps EndpointSlices: what is written is listed, watched and numbered, as in a cluster. It speaks
//! TLS, and asks for a token.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::CertifiedKey;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::apiserver::{Events, Exchange};

/// Serves until it is dropped.
pub(crate) struct Cluster {
    port: u16,
    certificate: String,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Store {
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// By namespace and name.
    slices: BTreeMap<String, Value>,
    /// What has happened lately: at which version, what, and the slice after it.
    log: VecDeque<(u64, &'static str, Value)>,
}

const TOKEN: &str = "let-me-in";
/// At a time; others wait to be taken.
const MOST_CONNECTIONS: usize = 64;
const LONGEST_REQUEST: Duration = Duration::from_secs(30);
/// Whoever knows nothing younger has to list again.
const LONGEST_LOG: usize = 1_000;

impl Cluster {
    pub(crate) async fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = signing_key.serialize_der().try_into().unwrap();
        let tls = ServerConfig::builder().with_no_client_auth();
        let tls = TlsAcceptor::from(Arc::new(tls.with_single_cert(vec![cert.der().clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let store = Store { state: Arc::default(), version: watch::Sender::new(1) };
        let serving = tokio::spawn(accept(listener, tls, store));
        Self { port, certificate: cert.pem(), serving }
    }

    /// A kubeconfig that names this server, in JSON, which is YAML.
    pub(crate) fn kubeconfig(&self, namespace: &str) -> String {
        let server = format!("https://127.0.0.1:{}", self.port);
        let authority = STANDARD.encode(&self.certificate);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [
                {"name": "stand-in", "cluster": {"server": server, "certificate-authority-data": authority}},
            ],
            "users": [{"name": "tester", "user": {"token": TOKEN}}],
            "contexts": [{
                "name": "here",
                "context": {"cluster": "stand-in", "user": "tester", "namespace": namespace},
            }],
        })
        .to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Takes connections, each served apart: one that is slow or broken holds up nobody. All end with this.
async fn accept(listener: TcpListener, tls: TlsAcceptor, store: Store) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            taken = listener.accept(), if connections.len() < MOST_CONNECTIONS => {
                if let Ok((stream, _)) = taken {
                    connections.spawn(connection(stream, tls.clone(), store.clone()));
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, store: Store) {
    let read = async {
        stream.set_nodelay(true).ok()?;
        Exchange::read(tls.accept(stream).await.ok()?).await.ok()
    };
    if let Ok(Some(exchange)) = timeout(LONGEST_REQUEST, read).await {
        serve(store, exchange).await;
    }
}

async fn refuse(exchange: Exchange, code: &str, reason: &str) {
    let number: u16 = code.split(' ').next().unwrap_or_default().parse().unwrap_or_default();
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": code,
        "reason": reason, "code": number});
    exchange.answer(code, "content-type: application/json\r\n", &status.to_string()).await;
}

async fn serve(store: Store, exchange: Exchange) {
    if !exchange.head.contains(&format!("authorization: bearer {TOKEN}\r\n")) {
        return refuse(exchange, "401 Unauthorized", "Unauthorized").await;
    }
    let target = exchange.target.clone();
    let (method, place) = target.split_once(' ').unwrap_or_default();
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let path = path.strip_prefix("/apis/discovery.k8s.io/v1/namespaces/");
    let Some((namespace, name)) = path.and_then(|path| path.split_once("/endpointslices")) else {
        return refuse(exchange, "404 Not Found", "NotFound").await;
    };
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let service = parameter("labelSelector").split_once("%3D").map_or("", |(_, name)| name);
    let selected = Selected { namespace: namespace.to_owned(), service: service.to_owned() };
    match method {
        "GET" if exchange.is_watch() => {
            let initial = exchange.is_watch_list();
            let from = parameter("resourceVersion").parse().unwrap_or(0);
            let lasting = Duration::from_secs(parameter("timeoutSeconds").parse().unwrap_or(300));
            let mut events = exchange.open().await;
            timeout(lasting, store.follow(&selected, from, initial, &mut events)).await.ok();
            events.end().await;
        }
        "GET" => {
            let (items, version) = store.now(&selected);
            let list = json!({"metadata": {"resourceVersion": version.to_string()}, "items": items});
            exchange.json(&list.to_string()).await;
        }
        _ => {
            let body = serde_json::from_str(&exchange.body).unwrap_or_default();
            match store.change(method, namespace, name.trim_start_matches('/'), body) {
                Ok(slice) => exchange.json(&slice.to_string()).await,
                Err((code, reason)) => refuse(exchange, code, reason).await,
            }
        }
    }
}

/// Which slices are asked for.
struct Selected {
    namespace: String,
    /// All, where it is empty.
    service: String,
}

impl Selected {
    fn has(&self, slice: &Value) -> bool {
        let metadata = &slice["metadata"];
        metadata["namespace"] == self.namespace
            && (self.service.is_empty() || metadata["labels"]["kubernetes.io/service-name"] == self.service)
    }
}

impl Store {
    /// The slices there are, and the version they are of.
    fn now(&self, selected: &Selected) -> (Vec<Value>, u64) {
        let state = self.state.lock().unwrap();
        let found = state.slices.values().filter(|slice| selected.has(slice)).cloned().collect();
        (found, *self.version.borrow())
    }

    /// Does what `method` says with the slice called so, or in `body`. Answers with the slice after it.
    fn change(
        &self,
        method: &str,
        namespace: &str,
        name: &str,
        mut body: Value,
    ) -> Result<Value, (&'static str, &'static str)> {
        let mut state = self.state.lock().unwrap();
        let name =
            if method == "POST" { body["metadata"]["name"].as_str().unwrap_or_default() } else { name };
        let place = format!("{namespace}/{name}");
        let before = state.slices.get(&place).cloned();
        let version = *self.version.borrow() + 1;
        let (kind, mut slice) = match (method, before) {
            ("POST", None) => {
                body["metadata"]["uid"] = format!("{:08x}", fastrand::u32(..)).into();
                ("ADDED", body)
            }
            ("POST", Some(_)) => return Err(("409 Conflict", "AlreadyExists")),
            ("PUT" | "DELETE", None) => return Err(("404 Not Found", "NotFound")),
            ("PUT", Some(before)) => {
                body["metadata"]["uid"] = before["metadata"]["uid"].clone();
                ("MODIFIED", body)
            }
            ("DELETE", Some(before)) => ("DELETED", before),
            _ => return Err(("405 Method Not Allowed", "MethodNotAllowed")),
        };
        slice["metadata"]["namespace"] = namespace.into();
        slice["metadata"]["resourceVersion"] = version.to_string().into();
        if kind == "DELETED" {
            state.slices.remove(&place);
        } else {
            state.slices.insert(place, slice.clone());
        }
        state.log.push_back((version, kind, slice.clone()));
        if state.log.len() > LONGEST_LOG {
            state.log.pop_front();
        }
        self.version.send_replace(version);
        Ok(slice)
    }

    /// Tells what there is, where that is wanted, and what happens after version `from`, while somebody listens.
    async fn follow(&self, selected: &Selected, mut from: u64, initial: bool, events: &mut Events) {
        let mut version = self.version.subscribe();
        if initial || from == 0 {
            let (slices, now) = self.now(selected);
            for slice in slices {
                if !events.tell("ADDED", &slice.to_string()).await {
                    return;
                }
            }
            if initial {
                events.bookmark(now, true).await;
            }
            from = now;
        }
        loop {
            version.mark_unchanged();
            let Some((news, now)) = self.since(selected, from) else {
                let status = r#"{"kind":"Status","reason":"Expired","code":410,"message":"too old"}"#;
                events.tell("ERROR", status).await;
                return;
            };
            from = now.max(from);
            for (kind, slice) in news {
                if !events.tell(kind, &slice.to_string()).await {
                    return;
                }
            }
            tokio::select! {
                changed = version.changed() => if changed.is_err() { return },
                () = events.gone() => return,
            }
        }
    }

    /// What has happened since, unless that is forgotten, and the version it leads to.
    fn since(&self, selected: &Selected, from: u64) -> Option<(Vec<(&'static str, Value)>, u64)> {
        let state = self.state.lock().unwrap();
        let forgotten = state.log.front().is_some_and(|(first, ..)| *first > from + 1);
        let new = state.log.iter().filter(|(at, _, slice)| *at > from && selected.has(slice));
        let new = new.map(|(_, kind, slice)| (*kind, slice.clone())).collect();
        (!forgotten).then(|| (new, *self.version.borrow()))
    }
}
