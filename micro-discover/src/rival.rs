//! Somebody else who announces an endpoint of this process at another address: then each replaces what the other has put.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::record::{EndpointId, Service};

/// The endpoints of this process that somebody else was found to announce, by service and id: the log knows of them.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    told: Mutex<BTreeSet<(String, EndpointId)>>,
}

const NO_PANIC: &str = "nothing under this lock can panic";

impl Rivals {
    /// `theirs` stands in the registry where `ours`, which has one endpoint, was put. If that is another address it is
    /// said once, for as long as ours is announced.
    pub(crate) fn meet(&self, registry: &'static str, ours: &Service, theirs: &Service) {
        let (service, endpoint) = (&ours.name, &ours.endpoints[0]);
        let same_id = |theirs: &&crate::record::Endpoint| theirs.id == endpoint.id;
        let Some(theirs) = theirs.endpoints.iter().find(same_id) else { return };
        if theirs.address == endpoint.address {
            return;
        }
        let key = (service.clone(), endpoint.id.clone());
        if self.told.lock().expect(NO_PANIC).insert(key) {
            tracing::warn!(
                service,
                endpoint = endpoint.id,
                registry,
                ours = %endpoint.address,
                theirs = %theirs.address,
                "somebody else announces an endpoint of this id at another address, and clients find now the one, now the \
                 other: give each process an id of its own, or none, and one is made"
            );
        }
    }

    /// The endpoints of `service` are announced here no longer.
    pub(crate) fn part(&self, service: &Service) {
        let mut told = self.told.lock().expect(NO_PANIC);
        for endpoint in &service.endpoints {
            told.remove(&(service.name.clone(), endpoint.id.clone()));
        }
    }
}
