//! Registers endpoints with an agent and keeps their checks passing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, timeout};

use super::BACKEND;
use super::agents::Trouble;
use super::catalog::{Catalog, Registered};
use super::ids::id_of;
use super::registration::{self, Probe};
use crate::escape::escape;
use crate::merge::split;
use crate::record::Service;
use crate::rival::Rivals;

/// The endpoints of this process, as they were registered, by their id in Consul.
#[derive(Debug)]
pub(super) struct Checks {
    probe: Option<Probe>,
    registered: Mutex<BTreeMap<String, Registration>>,
    rivals: Rivals,
}

/// A record of one endpoint as it was registered, for how long, and when the agent was last asked whether it is still that.
#[derive(Debug)]
struct Registration {
    record: Service,
    ttl: Duration,
    looked: Instant,
}

/// How long the agent may take to tell its servers.
const SETTLE: Duration = Duration::from_millis(700);
const NO_PANIC: &str = "nothing under this lock can panic";

impl Checks {
    pub(super) fn new(probe: Option<Probe>) -> Self {
        Self { probe, registered: Mutex::default(), rivals: Rivals::default() }
    }

    pub(super) async fn put(
        &self,
        catalog: &Catalog,
        service: &Service,
        ttl: Duration,
    ) -> Result<(), Trouble> {
        let mut fresh = Vec::new();
        for record in split(service) {
            let id = id_of(&record.name, &record.endpoints[0].id);
            if self.is_known(&id, &record, ttl) && self.renewed(catalog, &id, &record, ttl).await? {
                continue;
            }
            let body = registration::body(self.probe.as_ref(), &id, &record, ttl).to_string().into_bytes();
            // Where our check is the only one there is none to replace, but an operator's: maintenance goes on.
            let replace = if self.has_check(&id, ttl) { "" } else { "replace-existing-checks=true" };
            catalog.agents().write(&format!("/v1/agent/service/register?{replace}"), body).await?;
            let registration = Registration { record: record.clone(), ttl, looked: Instant::now() };
            self.registered.lock().expect(NO_PANIC).insert(id, registration);
            fresh.push(record);
        }
        settle(catalog, service, |set| fresh.iter().all(|record| holds(set, record))).await;
        Ok(())
    }

    /// Whether it was registered like that.
    fn is_known(&self, id: &str, record: &Service, ttl: Duration) -> bool {
        let registered = self.registered.lock().expect(NO_PANIC);
        registered.get(id).is_some_and(|known| known.record == *record && known.ttl == ttl)
    }

    /// Whether it was registered with the same check, or without one as it is to be now.
    fn has_check(&self, id: &str, ttl: Duration) -> bool {
        let registered = self.registered.lock().expect(NO_PANIC);
        registered.get(id).is_some_and(|known| known.ttl.is_zero() == ttl.is_zero())
    }

    /// Whether the agent still knows this endpoint, and believes in it for another TTL.
    async fn renewed(
        &self,
        catalog: &Catalog,
        id: &str,
        record: &Service,
        ttl: Duration,
    ) -> Result<bool, Trouble> {
        let renewed = if ttl.is_zero() || self.probe.is_some() {
            self.is_ours(catalog, id, record).await
        } else if self.is_due(id, ttl) && matches!(self.is_ours(catalog, id, record).await, Ok(false)) {
            // Its check has the name of ours, which would pass for as long as we live, whatever becomes of whose it is.
            Ok(false)
        } else {
            let check = escape(&registration::check_id(self.probe.as_ref(), id));
            let passed = catalog.agents().write(&format!("/v1/agent/check/pass/{check}?"), Vec::new()).await;
            passed.map(|()| true)
        };
        match renewed {
            // Consul says 404 or, before 1.13, 500 for a check it does not know.
            Err(Trouble::Refused { status, reason, .. }) if forgot(status, &reason) => Ok(false),
            answered => answered,
        }
    }

    /// Whether it is time to look whose the endpoint is: a check that passes does not tell. Once a TTL is enough.
    fn is_due(&self, id: &str, ttl: Duration) -> bool {
        let mut registered = self.registered.lock().expect(NO_PANIC);
        let Some(known) = registered.get_mut(id).filter(|known| known.looked.elapsed() >= ttl) else {
            return false;
        };
        known.looked = Instant::now();
        true
    }

    /// Whether what the agent has is at the address that we gave it: nobody has registered another one since.
    async fn is_ours(&self, catalog: &Catalog, id: &str, record: &Service) -> Result<bool, Trouble> {
        let path = format!("/v1/agent/service/{}?", escape(id));
        let found = catalog.agents().own::<Registered>(&path).await?.said.record("");
        let theirs = found.filter(|found| found.endpoints[0].address != record.endpoints[0].address);
        if let Some(theirs) = &theirs {
            self.rivals.meet(BACKEND, record, theirs);
        }
        Ok(theirs.is_none())
    }

    /// Deregisters the endpoints that are still as `service` says.
    pub(super) async fn remove(&self, catalog: &Catalog, service: &Service) -> Result<(), Trouble> {
        self.rivals.part(service);
        let mut gone = Vec::new();
        for record in split(service) {
            let id = id_of(&record.name, &record.endpoints[0].id);
            let path = escape(&id);
            let found = match catalog.agents().own::<Registered>(&format!("/v1/agent/service/{path}?")).await
            {
                Err(Trouble::Refused { status: StatusCode::NOT_FOUND, .. }) => None,
                found => found?.said.record(""),
            };
            let ours = self
                .registered
                .lock()
                .expect(NO_PANIC)
                .remove(&id)
                .is_some_and(|known| is_same(&known.record, &record));
            // What we have put there ourselves goes, even if the agent asked now says that it has never heard of it.
            if found.as_ref().map_or(ours, |found| is_same(found, &record)) {
                deregister(catalog, &path).await?;
                gone.push(record);
            }
        }
        settle(catalog, service, |set| gone.iter().all(|record| !holds(set, record))).await;
        Ok(())
    }
}

async fn deregister(catalog: &Catalog, path: &str) -> Result<(), Trouble> {
    match catalog.agents().write(&format!("/v1/agent/service/deregister/{path}?"), Vec::new()).await {
        Err(Trouble::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(()),
        done => done,
    }
}

/// Waits until the servers know what the agent knows, so that who reads next sees what was written. Not for long: the
/// agent will tell them in any case.
async fn settle(catalog: &Catalog, service: &Service, settled: impl Fn(&[Service]) -> bool) {
    if settled(&[]) && settled(std::slice::from_ref(service)) {
        return;
    }
    let settling = async {
        let mut index = 0;
        while let Ok(told) = catalog.query(&service.name, index).await {
            if settled(&told.set) || told.index == 0 {
                break;
            }
            index = told.index;
        }
    };
    timeout(SETTLE, settling).await.ok();
}

fn holds(set: &[Service], record: &Service) -> bool {
    set.iter().any(|service| {
        service.version == record.version && service.endpoints.iter().any(|e| *e == record.endpoints[0])
    })
}

fn is_same(found: &Service, ours: &Service) -> bool {
    found.version == ours.version && found.endpoints[0].address == ours.endpoints[0].address
}

fn forgot(status: StatusCode, reason: &str) -> bool {
    status == StatusCode::NOT_FOUND
        || reason.contains("does not have associated TTL")
        || reason.contains("Unknown check")
}
