//! Remembers what a registry said, and says it again while it fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use tokio::time::Instant;

use crate::record::Service;
use crate::registry::{Error, Registry};

/// A registry that answers [`get`](Registry::get) from memory for a while, and for ever while the one behind it fails.
///
/// For callers that look up again and again; who balances uses a [`Watch`](crate::Watch), which needs no cache. At
/// most 10 000 names are remembered. Everything else is passed on. Clones share what they remember.
#[derive(Clone, Debug)]
pub struct Cache {
    registry: Arc<dyn Registry>,
    fresh_for: Duration,
    answers: Arc<Mutex<BTreeMap<String, Known>>>,
}

/// An answer, and when it was given.
type Known = (Instant, Vec<Service>);

const MOST: usize = 10_000;
const NO_PANIC: &str = "nothing under this lock can panic";

impl Cache {
    /// Believes an answer of `registry` for `fresh_for`.
    pub fn new(registry: Arc<dyn Registry>, fresh_for: Duration) -> Self {
        Self { registry, fresh_for, answers: Arc::default() }
    }

    fn known(&self, name: &str) -> Option<Known> {
        self.answers.lock().expect(NO_PANIC).get(name).cloned()
    }

    fn forget(&self, name: &str) {
        self.answers.lock().expect(NO_PANIC).remove(name);
    }

    /// Names of which nothing is known are not remembered: there is no end of them.
    fn remember(&self, name: String, set: &[Service]) {
        let mut answers = self.answers.lock().expect(NO_PANIC);
        if set.is_empty() {
            answers.remove(&name);
        } else if answers.len() < MOST || answers.contains_key(&name) {
            answers.insert(name, (Instant::now(), set.to_vec()));
        }
    }
}

impl Registry for Cache {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        self.forget(&service.name);
        self.registry.announce(service, ttl)
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        self.forget(&service.name);
        self.registry.withdraw(service)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        self.registry.list()
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            let known = self.known(&name);
            if let Some((at, set)) = &known
                && at.elapsed() < self.fresh_for
            {
                return Ok(set.clone());
            }
            match (self.registry.get(&name).await, known) {
                (Err(error), Some((_, stale))) if error.is_retryable() => {
                    tracing::debug!(
                        service = name,
                        error = error.report(),
                        "answering what was known before"
                    );
                    Ok(stale)
                }
                (answer, _) => {
                    let set = answer?;
                    self.remember(name, &set);
                    Ok(set)
                }
            }
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        self.registry.watch(name)
    }

    fn backend(&self) -> &'static str {
        self.registry.backend()
    }
}
