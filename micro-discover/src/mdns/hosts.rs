//! The addresses of announced hosts: DNS carries no host name where go-micro looks for an address.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::record::{Endpoint, Service};

const NO_PANIC: &str = "nothing under this lock can panic";
const TIMEOUT: Duration = Duration::from_secs(1);
/// How many addresses of one host are told.
const MOST: usize = 8;
/// How many are looked up at once.
const WIDTH: usize = 16;
/// How many hosts are remembered.
const MOST_HOSTS: usize = 1024;

/// What this machine's resolver says of the hosts that are announced here.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    known: Mutex<HashMap<String, Vec<IpAddr>>>,
}

impl Hosts {
    /// Looks up the hosts of `service` that are no addresses. One that is not found is told without an address: we
    /// read its name in our own record, go-micro passes it over.
    pub(super) async fn look_up(&self, service: &Service) {
        let hosts = service.endpoints.iter().filter_map(|endpoint| endpoint.address.host());
        let named: BTreeSet<_> = hosts.filter(|host| host.parse::<IpAddr>().is_err()).collect();
        stream::iter(named).for_each_concurrent(WIDTH, |host| self.look_up_one(host)).await;
    }

    async fn look_up_one(&self, host: &str) {
        let Ok(Ok(found)) = timeout(TIMEOUT, lookup_host((host, 0))).await else { return };
        let found = found.map(|at| at.ip()).take(MOST).collect();
        let mut known = self.known.lock().expect(NO_PANIC);
        if known.len() >= MOST_HOSTS {
            known.clear();
        }
        known.insert(host.to_owned(), found);
    }

    /// The addresses of an endpoint.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Vec<IpAddr> {
        let Some(host) = endpoint.address.host() else { return Vec::new() };
        match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => self.known.lock().expect(NO_PANIC).get(host).cloned().unwrap_or_default(),
        }
    }
}
