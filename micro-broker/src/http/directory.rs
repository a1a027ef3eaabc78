//! Who subscribes to what, as the registry knows it.

use std::sync::Arc;
use std::time::Duration;

use micro_discover::{Endpoint, Registry, Service};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::envelope::Envelope;
use crate::error::Error;
use crate::topic::matches;

/// The service all subscribers of go-micro since v2.5 belong to; the version is the group.
pub(super) const SERVICE: &str = "micro.http.broker";
/// The version of subscribers without a group.
pub(super) const BROADCAST: &str = "ff.http.broadcast";
/// How old an answer of the registry may be when an event is published.
pub(super) const FRESH: Duration = Duration::from_millis(50);

/// A subscriber to post to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) id: String,
    pub(super) authority: String,
    pub(super) pattern: String,
    /// `None` for broadcast.
    pub(super) group: Option<String>,
    pub(super) envelope: Envelope,
    pub(super) in_flight: usize,
    pub(super) ack_wait: Duration,
}

/// What the registry said about a topic, and when.
#[derive(Debug)]
struct Answer {
    at: Instant,
    topic: String,
    targets: Arc<[Target]>,
}

/// The registry, asked at most every [`FRESH`]; the last good answer stands in for a registry that fails.
#[derive(Debug)]
pub(super) struct Directory {
    registry: Arc<dyn Registry>,
    last: Mutex<Option<Answer>>,
}

impl Directory {
    pub(super) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, last: Mutex::default() }
    }

    /// Everyone who subscribes to a topic.
    pub(super) async fn subscribers(&self, topic: &str, within: Duration) -> Result<Arc<[Target]>, Error> {
        let mut last = self.last.lock().await;
        let known = last.as_ref().filter(|known| known.topic == topic);
        if let Some(known) = known.filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known.targets.clone());
        }
        // Taken before the question: whoever is announced after it is not promised by the answer.
        let at = Instant::now();
        let v0 = format!("topic:{topic}");
        let asked = async { tokio::try_join!(self.registry.get(SERVICE), self.registry.get(&v0)) };
        let fault = match timeout(within, asked).await {
            Ok(Ok((services, older))) => {
                let targets = services.iter().chain(&older).flat_map(targets);
                let targets: Arc<[Target]> =
                    targets.filter(|target| matches(&target.pattern, topic)).collect();
                *last = Some(Answer { at, topic: topic.to_owned(), targets: targets.clone() });
                return Ok(targets);
            }
            Ok(Err(error)) => super::unavailable(error),
            Err(late) => super::unavailable(late),
        };
        known.map(|known| known.targets.clone()).ok_or(fault)
    }
}

fn targets(service: &Service) -> impl Iterator<Item = Target> {
    service.endpoints.iter().filter_map(|endpoint| target(service, endpoint))
}

fn target(service: &Service, endpoint: &Endpoint) -> Option<Target> {
    let of = |key: &str| endpoint.metadata.get(key).map(String::as_str);
    let v0 = service.name.strip_prefix("topic:");
    Some(Target {
        id: endpoint.id.to_string(),
        authority: endpoint.address.authority().to_owned(),
        pattern: v0.or(of("topic"))?.to_owned(),
        group: (service.version != BROADCAST).then(|| service.version.clone()),
        envelope: match of("envelope") {
            Some("native") => Envelope::Native,
            _ if v0.is_some() => Envelope::GoMicroV0,
            _ => Envelope::GoMicro,
        },
        in_flight: of("in-flight").and_then(|count| count.parse().ok()).unwrap_or(1),
        ack_wait: Duration::from_millis(of("ack-wait").and_then(|wait| wait.parse().ok()).unwrap_or(10_000)),
    })
}
