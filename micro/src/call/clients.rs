//! Clients that are used again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use micro_discover::{Endpoint, Filter, Fixed, Registry};
use micro_tower::Client;
use micro_tower::client::Builder;
use tokio::time::Instant;

use super::target::Target;

/// The client of each target, and of each endpoint that is called by itself. Clones share them.
///
/// At most 1024 are kept; the one that was not used for longest goes first.
#[derive(Clone)]
pub(super) struct Clients {
    registry: Arc<dyn Registry>,
    settings: Arc<dyn Fn(Builder) -> Builder + Send + Sync>,
    known: Arc<Mutex<HashMap<Key, (Client, Instant)>>>,
}

type Key = (Target, Option<String>);

const MOST: usize = 1024;

impl Clients {
    pub(super) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, settings: Arc::new(|client| client), known: Arc::default() }
    }

    pub(super) fn set(&mut self, settings: impl Fn(Builder) -> Builder + Send + Sync + 'static) {
        self.settings = Arc::new(settings);
        self.known = Arc::default();
    }

    /// Clients with the same settings of who is in `registry` and will ever be: why one is not reached is said at once.
    pub(super) fn of(&self, registry: Arc<dyn Registry>) -> Self {
        let settings = self.settings.clone();
        let settings = move |client: Builder| settings(client.failfast(Duration::ZERO));
        Self { registry, settings: Arc::new(settings), known: Arc::default() }
    }

    pub(super) fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    pub(super) fn get(&self, target: &Target, endpoint: Option<&str>) -> Client {
        let key = (target.clone(), endpoint.map(str::to_owned));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((client, used)) = known.get_mut(&key) {
            *used = now;
            return client.clone();
        }
        if known.len() >= MOST {
            let oldest = known.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| known.remove(&key));
        }
        let client = self.build(target, endpoint);
        known.insert(key, (client.clone(), now));
        client
    }

    fn build(&self, target: &Target, endpoint: Option<&str>) -> Client {
        let mut builder = match target {
            Target::Service(name) => Client::builder(name.as_str(), self.registry.clone()),
            Target::Address(address) => {
                let fixed =
                    Fixed::new([Endpoint::new("it", address.clone())]).expect("one endpoint with an id");
                // The registry's rules for names hold for this one too: no scheme, no slash.
                let name = address.authority().replace('/', "-");
                // Nobody else will ever be there: it is as well to say at once why this one is not.
                Client::builder(name, Arc::new(fixed)).failfast(Duration::ZERO)
            }
        };
        if let Some(wanted) = endpoint.map(str::to_owned) {
            let rule = move |_: &_, e: &Endpoint| e.id == wanted || e.address.to_string() == wanted;
            builder = builder.filter(Filter::new().matching(rule));
        }
        (self.settings)(builder).build()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("registry", &self.registry).finish_non_exhaustive()
    }
}
