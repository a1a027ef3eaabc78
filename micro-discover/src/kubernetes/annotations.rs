//! Records in the annotations of pods, as go-micro's Kubernetes registry keeps them.

mod pod;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use self::pod::{Pod, records};
use super::api::{Api, Collection};
use super::clients::Source;
use super::failure::{Failure, Kind};
use super::hub::{Board, Hub};
use super::member::Set;
use super::mirror::{Change, Initial, Mirror, News};
use super::retry::Retry;
use crate::gomicro;
use crate::invalid::Invalid;
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};

/// Records that pods carry in their own annotations: go-micro's Kubernetes registry, to read and to write.
///
/// For services shared with go-micro; others need no announcement, see [`Kubernetes`](crate::Kubernetes). A record is the
/// annotation `micro.mu/service-NAME` of the pod that announces it, beside the labels `micro.mu/type` and
/// `micro.mu/selector-NAME`; it lives as long as the pod does, whatever its TTL. Records of pods that do not run, are
/// not ready or shut down are left out. Needs the verbs `list`, `watch` and `patch` on `pods` of the namespace.
#[derive(Clone, Debug)]
#[must_use]
pub struct PodAnnotations {
    api: Arc<Api>,
    hub: Hub,
    namespace: Option<String>,
    pod: Option<String>,
    retry: (Duration, Duration),
}

const BACKEND: &str = "kubernetes-pods";
const TYPE: &str = "micro.mu/type";
const LASTING: Duration = Duration::from_secs(60);
/// A label's name has at most 63 bytes, `selector-` among them.
const LONGEST_NAME: usize = 54;

impl PodAnnotations {
    /// The cluster that `KUBECONFIG` or `~/.kube/config` names, else the one this process runs in.
    pub fn infer() -> Self {
        Self::from(Source::Infer)
    }

    /// The cluster that `config` names.
    pub fn from_config(config: kube::Config) -> Self {
        Self::from(Source::Config(Box::new(config)))
    }

    fn from(source: Source) -> Self {
        let retry = (Duration::from_millis(800), Duration::from_secs(30));
        Self { api: Arc::new(Api::new(source)), hub: Hub::default(), namespace: None, pod: None, retry }
    }

    /// Sets the namespace; the client's own when nothing is said.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self.hub = Hub::default();
        self
    }

    /// Sets the pod to announce on; `$HOSTNAME` when nothing is said.
    pub fn pod(mut self, name: impl Into<String>) -> Self {
        self.pod = Some(name.into());
        self
    }

    /// Sets the waits after failures, 0.8 s to 30 s when nothing is said.
    pub fn retry(mut self, min: Duration, max: Duration) -> Self {
        self.retry = (min.max(Duration::from_millis(1)), max.max(min));
        self.hub = Hub::default();
        self
    }

    /// Reads `namespace`, which may be left out.
    pub(crate) fn parse(rest: &str) -> Result<Self, Error> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match rest {
            "" => Ok(Self::infer()),
            _ if rest.len() <= 63 && rest.chars().all(fits) => Ok(Self::infer().namespace(rest)),
            _ => {
                let what = Invalid::new("it is not 1 to 63 lower-case letters, digits and dashes");
                Err(Error::Invalid { backend: BACKEND, what: what.at(format_args!("namespace {rest:?}")) })
            }
        }
    }

    fn pods(&self, selector: String) -> Collection {
        Collection { group: "/api/v1", namespace: self.namespace.clone(), resource: "pods", selector }
    }

    /// Patches the announcing pod, once the record has been checked.
    fn patch(&self, service: &Service, carried: bool) -> BoxFuture<'_, Result<(), Error>> {
        let pod = self.pod.clone().or_else(|| std::env::var("HOSTNAME").ok());
        let prepared = check_announced(BACKEND, service).and_then(|()| {
            let invalid = |what| Error::Invalid { backend: BACKEND, what };
            let name = key(&service.name).map_err(invalid)?;
            let pod =
                pod.ok_or_else(|| invalid(Invalid::new("an announcement without a pod: no HOSTNAME")))?;
            let json = String::from_utf8_lossy(&gomicro::encode(service)).into_owned();
            let mut labels = serde_json::Map::new();
            let word = serde_json::Value::from("service");
            labels.insert(TYPE.to_owned(), word.clone());
            labels.insert(format!("micro.mu/selector-{name}"), if carried { word } else { ().into() });
            let record = carried.then_some(json);
            let annotations = serde_json::json!({ format!("micro.mu/service-{name}"): record });
            Ok((pod, serde_json::json!({"metadata": {"labels": labels, "annotations": annotations}})))
        });
        Box::pin(async move {
            let (pod, body) = prepared?;
            let patched =
                self.api.patch(&self.pods(String::new()), &pod, body.to_string().into_bytes()).await;
            patched.map_err(|failure| error(&format!("patch pod {pod}"), &failure))
        })
    }

    fn sets(&self, name: &str, key: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let what = self.pods(format!("micro.mu/selector-{key}=service"));
        let retry = Retry::new(self.retry.0, self.retry.1, fastrand::Rng::new());
        let mirror = Mirror::<Pod>::new(self.api.clone(), what, Initial::List, LASTING, retry);
        let wanted = name.to_owned();
        let told = self.hub.watch(name, move |board| async move {
            let (sender, news) = mpsc::channel(1);
            tokio::join!(mirror.run(sender), publish(news, &wanted, &board));
        });
        told.map(|told| told.map_err(|failure| error("watch pods", &failure))).boxed()
    }
}

async fn publish(mut news: mpsc::Receiver<News<Pod>>, name: &str, board: &Board) {
    let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
    while let Some(item) = news.recv().await {
        let changes = match item {
            News::Changed(changes) => changes,
            News::Failed(failure) => {
                board.failed(failure);
                continue;
            }
        };
        for change in changes {
            match change {
                Change::All(all) => {
                    pods = all.into_iter().map(|pod| (pod.metadata.name.clone(), pod)).collect();
                }
                Change::Now(pod) => drop(pods.insert(pod.metadata.name.clone(), pod)),
                Change::Gone(name) => drop(pods.remove(&name)),
            }
        }
        board.state(Set::Records(records(pods.values(), Some(name))));
    }
}

fn error(what: &str, failure: &Failure) -> Error {
    Error::Unavailable { backend: BACKEND, what: what.to_owned(), source: failure.source() }
}

/// A service's name as part of a label: whatever a label cannot hold is an underscore.
fn key(name: &str) -> Result<String, Invalid> {
    check_service_name(name)?;
    let plain = |c: u8| if c.is_ascii_alphanumeric() || b"-_.".contains(&c) { char::from(c) } else { '_' };
    let key: String = name.bytes().map(plain).collect();
    if key.len() > LONGEST_NAME || !key.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        let what = format!("it is longer than {LONGEST_NAME} bytes or does not end with a letter or digit");
        return Err(Invalid::new(what).at(format_args!("service name {name:?}")));
    }
    Ok(key)
}

impl Registry for PodAnnotations {
    fn announce(&self, service: &Service, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        self.patch(service, true)
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        self.patch(service, false)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            let what = self.pods(format!("{TYPE}=service"));
            let listed = self.api.list::<Pod>(&what).await;
            let (pods, _) = listed.map_err(|failure| error("list pods", &failure))?;
            let pods: BTreeMap<_, _> = pods.into_iter().map(|pod| (pod.metadata.name.clone(), pod)).collect();
            Ok(records(pods.values(), None))
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let mut sets = self.watch(name);
        Box::pin(async move {
            let ended = || Err(error("watch pods", &Failure::new(Kind::Other, "the watch ended")));
            sets.next().await.unwrap_or_else(ended)
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        match key(name) {
            Ok(key) => self.sets(name, &key),
            Err(what) => stream::once(async { Err(Error::Invalid { backend: BACKEND, what }) }).boxed(),
        }
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}
