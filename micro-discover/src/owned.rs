//! What this process announces, where nobody else keeps it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::beliefs::{is_gone, is_same};
use crate::endless::YEAR;
use crate::merge::{merge, split};
use crate::record::{EndpointId, Service};
use crate::rival::Rivals;
use crate::said::{Gone, Said};

/// The endpoints of this process by service and id.
#[derive(Debug)]
pub(crate) struct Table {
    /// Tells our own words from those of others.
    pub(crate) owner: String,
    backend: &'static str,
    leases: Mutex<BTreeMap<(String, EndpointId), Lease>>,
    rivals: Rivals,
}

#[derive(Debug)]
struct Lease {
    /// With one endpoint.
    record: Service,
    /// None is for ever.
    end: Option<Instant>,
}

const NO_PANIC: &str = "nothing under this lock can panic";

impl Table {
    pub(crate) fn new(backend: &'static str) -> Self {
        let owner = format!("{:016x}", fastrand::u64(..));
        Self { owner, backend, leases: Mutex::default(), rivals: Rivals::default() }
    }

    pub(crate) fn put(&self, service: &Service, ttl: Duration) {
        let end = (!ttl.is_zero()).then(|| Instant::now() + ttl.min(YEAR));
        let mut leases = self.leases.lock().expect(NO_PANIC);
        for record in split(service) {
            let key = (record.name.clone(), record.endpoints[0].id.clone());
            leases.insert(key, Lease { record, end });
        }
    }

    pub(crate) fn forget(&self, service: &Service) {
        self.rivals.part(service);
        let mut leases = self.leases.lock().expect(NO_PANIC);
        for record in split(service) {
            let key = (record.name.clone(), record.endpoints[0].id.clone());
            if leases.get(&key).is_some_and(|lease| is_same(&lease.record, &record)) {
                leases.remove(&key);
            }
        }
    }

    /// What is announced and not over, of one service or of all.
    pub(crate) fn says(&self, name: Option<&str>) -> Vec<Said> {
        self.says_of(|service| name.is_none_or(|name| name == service))
    }

    /// The names of the services that are announced.
    #[cfg(feature = "mdns")]
    pub(crate) fn names(&self) -> Vec<String> {
        let (now, leases) = (Instant::now(), self.leases.lock().expect(NO_PANIC));
        let live = leases.iter().filter(|(_, lease)| lease.end.is_none_or(|end| end > now));
        let mut names: Vec<_> = live.map(|((name, _), _)| name.clone()).collect();
        names.dedup();
        names
    }

    /// What is announced of those `services` and not over; what is over together is said together.
    pub(crate) fn says_of(&self, mut services: impl FnMut(&str) -> bool) -> Vec<Said> {
        let now = Instant::now();
        let mut leases = self.leases.lock().expect(NO_PANIC);
        leases.retain(|_, lease| lease.end.is_none_or(|end| end > now));
        let mut groups: BTreeMap<Option<Instant>, Vec<&Service>> = BTreeMap::new();
        let mut last = ("", false);
        for ((name, _), lease) in &*leases {
            if last.0 != name {
                last = (name, services(name));
            }
            if last.1 {
                groups.entry(lease.end).or_default().push(&lease.record);
            }
        }
        let said = groups.into_iter().flat_map(|(end, records)| {
            let ttl = end.map(|end| end - now);
            merge(records).into_iter().map(move |service| (service, ttl))
        });
        said.map(|(service, ttl)| Said { service, ttl, owner: Some(self.owner.clone()) }).collect()
    }

    /// Somebody else announces some of our endpoints: they are not ours any more.
    pub(crate) fn lose(&self, said: &Said) {
        if said.owner.as_ref() != Some(&self.owner) {
            let mut leases = self.leases.lock().expect(NO_PANIC);
            for endpoint in &said.service.endpoints {
                if let Some(ours) = leases.remove(&(said.service.name.clone(), endpoint.id.clone())) {
                    self.rivals.meet(self.backend, &ours.record, &said.service);
                }
            }
        }
    }

    /// Somebody else withdraws some of our endpoints.
    pub(crate) fn let_go(&self, gone: &Gone) {
        if gone.owner.as_ref() != Some(&self.owner) {
            self.leases.lock().expect(NO_PANIC).retain(|_, lease| !is_gone(gone, &lease.record));
        }
    }
}
