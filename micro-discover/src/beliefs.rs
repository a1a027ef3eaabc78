//! Which endpoints to believe in, and until when, where the registry itself expires nothing or cannot say so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::endless::YEAR;
use crate::gomicro::written;
use crate::merge::{merge, split};
use crate::record::{EndpointId, Service};
use crate::said::{Gone, Said};

/// How long an endpoint without a TTL is believed in: three questions, which are asked every ten seconds.
const UNASKED: Duration = Duration::from_secs(35);
/// Those who answer for an endpoint need this long at least to come back after the server did.
const GRACE: Duration = Duration::from_secs(10);
const NO_PANIC: &str = "nothing under this lock can panic";

/// Endpoints by service and id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beliefs {
    known: BTreeMap<(String, EndpointId), Belief>,
    /// Whether the set may be another one than when it was last asked for. Most news are renewals, which change nothing.
    changed: bool,
    /// Nothing is over before this.
    end: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Belief {
    /// With one endpoint.
    record: Service,
    ttl: Option<Duration>,
    /// None: as long as nobody says otherwise.
    end: Option<Instant>,
    /// After an outage: not before this, whatever was still left of the TTL.
    grace: Option<Instant>,
}

impl Belief {
    /// When it is over.
    fn over(&self) -> Option<Instant> {
        self.end.map(|end| end.max(self.grace.unwrap_or(end)))
    }
}

impl Beliefs {
    /// Believes what somebody said who is asked now and then.
    pub(crate) fn hear(&mut self, said: &Said) {
        let now = Instant::now();
        self.put(said, Some(now + said.ttl.unwrap_or(UNASKED).min(YEAR)));
    }

    /// Believes what is kept somewhere, and was written this long ago. Without a TTL it holds for ever.
    #[cfg(feature = "nats")]
    pub(crate) fn read(&mut self, said: &Said, age: Duration) {
        let left = said.ttl.map(|ttl| Instant::now() + ttl.saturating_sub(age).min(YEAR));
        self.put(said, left);
    }

    fn put(&mut self, said: &Said, end: Option<Instant>) {
        for record in split(&said.service) {
            let key = (record.name.clone(), record.endpoints[0].id.clone());
            let known = self.known.get(&key);
            self.changed |= known.is_none_or(|known| known.record != record);
            let belief = Belief { record, ttl: said.ttl, end, grace: known.and_then(|known| known.grace) };
            self.end = self.end.into_iter().chain(belief.over()).min();
            self.known.insert(key, belief);
        }
    }

    /// Stops believing in what is gone.
    pub(crate) fn forget(&mut self, gone: &Gone) {
        for (id, _) in &gone.nodes {
            let key = (gone.name.clone(), id.clone());
            if self.known.get(&key).is_some_and(|known| is_gone(gone, &known.record)) {
                self.known.remove(&key);
                self.changed = true;
            }
        }
    }

    /// Stops believing in an endpoint, whatever it was.
    #[cfg(feature = "nats")]
    pub(crate) fn forget_id(&mut self, service: &str, id: &str) {
        self.changed |= self.known.remove(&(service.to_owned(), id.to_owned())).is_some();
    }

    /// How many endpoints are believed in.
    #[cfg(feature = "mdns")]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether an endpoint of `service` is believed in.
    #[cfg(feature = "mdns")]
    pub(crate) fn knows(&self, service: &str) -> bool {
        let mut from = self.known.range((service.to_owned(), EndpointId::new())..);
        from.next().is_some_and(|((name, _), _)| name == service)
    }

    /// When the next endpoint may stop being believed in: not before.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.end
    }

    /// Whether an endpoint has stopped being believed in.
    pub(crate) fn is_over(&mut self) -> bool {
        let past = |end: Option<Instant>| end.is_some_and(|end| end <= Instant::now());
        if past(self.end) {
            self.end = self.known.values().filter_map(Belief::over).min();
        }
        past(self.end)
    }

    /// The whole set, without what is over.
    pub(crate) fn services(&mut self) -> Vec<Service> {
        self.end_what_is_over();
        self.believed()
    }

    /// The whole set, if it may be another one than it was.
    pub(crate) fn changed(&mut self) -> Option<Vec<Service>> {
        self.changed.then(|| self.believed())
    }

    /// Stops believing in what is over.
    pub(crate) fn end_what_is_over(&mut self) {
        let (now, before) = (Instant::now(), self.known.len());
        self.known.retain(|_, belief| belief.over().is_none_or(|over| over > now));
        self.end = self.known.values().filter_map(Belief::over).min();
        self.changed |= self.known.len() < before;
    }

    fn believed(&mut self) -> Vec<Service> {
        self.changed = false;
        merge(self.known.values().map(|belief| &belief.record))
    }

    /// The same, believed in for as long again: nobody could say anything meanwhile.
    fn renewed(mut self) -> Self {
        let now = Instant::now();
        for belief in self.known.values_mut() {
            let grace = now + belief.ttl.unwrap_or(UNASKED).clamp(GRACE, UNASKED);
            (belief.end, belief.grace) = (Some(grace), Some(grace));
        }
        // Whoever is told of them now was told of nothing yet.
        (self.changed, self.end) = (true, None);
        self.end = self.known.values().filter_map(Belief::over).min();
        self
    }
}

/// Whether `record`, which has one endpoint, is among what is gone and still what it was.
pub(crate) fn is_gone(gone: &Gone, record: &Service) -> bool {
    let endpoint = &record.endpoints[0];
    let same = |(id, address): &(EndpointId, String)| {
        *id == endpoint.id && (*address == endpoint.address.to_string() || *address == written(endpoint))
    };
    gone.name == record.name && gone.version == record.version && gone.nodes.iter().any(same)
}

pub(crate) fn is_same(found: &Service, ours: &Service) -> bool {
    found.version == ours.version && found.endpoints[0].address == ours.endpoints[0].address
}

/// What watchers believed in when they lost their connection, by service.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    lost: Mutex<HashMap<String, Beliefs>>,
}

impl Memory {
    /// Notes what was believed of `name`.
    pub(crate) fn lose(&self, name: &str, beliefs: Beliefs) {
        self.lost.lock().expect(NO_PANIC).insert(name.to_owned(), beliefs);
    }

    /// What to go on believing in until something else is heard.
    pub(crate) fn recall(&self, name: &str) -> Beliefs {
        self.lost.lock().expect(NO_PANIC).get(name).cloned().unwrap_or_default().renewed()
    }

    /// The connection stands again, and what is believed is known anew.
    pub(crate) fn settle(&self, name: &str) {
        self.lost.lock().expect(NO_PANIC).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Endpoint;

    fn said(id: &str, ttl: Option<u64>) -> Said {
        let service = Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()));
        Said { service, ttl: ttl.map(Duration::from_secs), owner: None }
    }

    fn ids(beliefs: &mut Beliefs) -> String {
        let set = beliefs.services();
        set.iter().flat_map(|s| &s.endpoints).map(|e| e.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_heard_of_again_is_over_after_its_ttl() {
        let mut beliefs = Beliefs::default();
        beliefs.hear(&said("a", Some(10)));
        beliefs.hear(&said("go", None));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(ids(&mut beliefs), "a go");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(ids(&mut beliefs), "go");
        tokio::time::advance(UNASKED).await;
        assert_eq!(ids(&mut beliefs), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_changes_nothing_and_postpones_the_end() {
        let mut beliefs = Beliefs::default();
        beliefs.hear(&said("a", Some(10)));
        assert!(beliefs.changed().is_some() && beliefs.changed().is_none());
        tokio::time::advance(Duration::from_secs(6)).await;
        beliefs.hear(&said("a", Some(10)));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!beliefs.is_over() && beliefs.changed().is_none());
        assert_eq!(beliefs.next_end(), Some(Instant::now() + Duration::from_secs(4)));
        let mut other = said("a", Some(10));
        other.service.version = "2".to_owned();
        beliefs.hear(&other);
        assert!(beliefs.changed().is_some() && beliefs.changed().is_none());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(beliefs.is_over() && beliefs.changed().is_none());
        beliefs.end_what_is_over();
        assert_eq!(beliefs.changed(), Some(Vec::new()));
    }

    #[cfg(feature = "nats")]
    #[tokio::test(start_paused = true)]
    async fn what_is_kept_somewhere_is_as_old_as_it_is_there() {
        let mut beliefs = Beliefs::default();
        beliefs.read(&said("kept", Some(10)), Duration::from_secs(4));
        beliefs.read(&said("ever", None), Duration::MAX);
        assert_eq!(ids(&mut beliefs), "ever kept");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(ids(&mut beliefs), "ever");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_outage_everyone_has_time_to_come_back() {
        let (memory, mut before) = (Memory::default(), Beliefs::default());
        before.hear(&said("a", Some(10)));
        before.hear(&said("b", Some(10)));
        memory.lose("greeter", before);
        tokio::time::advance(Duration::from_secs(600)).await;
        let mut now = memory.recall("greeter");
        now.hear(&said("a", Some(10)));
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(ids(&mut now), "a b");
        now.hear(&said("a", Some(10)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(ids(&mut now), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_outage_the_rest_of_an_old_ttl_ends_nothing_but_a_farewell_does() {
        let (memory, mut before) = (Memory::default(), Beliefs::default());
        before.hear(&said("a", Some(3)));
        before.hear(&said("b", Some(3)));
        memory.lose("greeter", before);
        let mut now = memory.recall("greeter");
        now.hear(&Said { ttl: Some(Duration::from_millis(100)), ..said("a", None) });
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(ids(&mut now), "a b");
        assert_eq!(now.next_end(), Some(Instant::now() + Duration::from_secs(1)));
        let gone = Gone {
            name: "greeter".to_owned(),
            version: "latest".to_owned(),
            nodes: vec![("a".to_owned(), "h:1".parse::<crate::Address>().unwrap().to_string())],
            owner: None,
        };
        now.forget(&gone);
        assert_eq!(ids(&mut now), "b");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((ids(&mut now).as_str(), now.next_end()), ("", None));
    }
}
