//! The task behind an announcement.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{Update, failed};
use crate::backoff::Backoff;
use crate::record::Service;
use crate::registry::{Error, Registry};

const LONGEST_WAIT: Duration = Duration::from_secs(10);
const FOR_EVER_BEAT: Duration = Duration::from_secs(10);
/// What a registry needs to find out that the server it uses hangs, and to ask another one, however short the TTL is.
const ENOUGH: Duration = Duration::from_secs(5);

/// Announces, renews, and withdraws at the end, until its [`Announcement`](super::Announcement) is dropped.
pub(super) struct Keeper {
    registry: Arc<dyn Registry>,
    ttl: Duration,
    beat: Duration,
    random: fastrand::Rng,
    withdraw_within: Duration,
    backoff: Backoff,
    report: watch::Sender<bool>,
    /// Whether the last try has failed, and the log knows.
    failing: bool,
    /// Whether the registry has taken anything.
    taken: bool,
    current: Option<Service>,
    /// Records whose endpoints are to be withdrawn, once what replaces them is announced.
    leftovers: Vec<Service>,
}

impl Keeper {
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        ttl: Duration,
        withdraw_within: Duration,
        random: fastrand::Rng,
        report: watch::Sender<bool>,
    ) -> Self {
        let beat = if ttl.is_zero() { FOR_EVER_BEAT } else { ttl / 3 };
        Self {
            backoff: Backoff::new(beat.min(LONGEST_WAIT), random.clone()),
            registry,
            ttl,
            beat,
            random,
            withdraw_within,
            report,
            failing: false,
            taken: false,
            current: None,
            leftovers: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Update>) -> Result<(), Error> {
        let mut wait = self.beat;
        loop {
            let order = match self.current {
                Some(_) => timeout(wait, orders.recv()).await,
                None => Ok(orders.recv().await),
            };
            wait = match order {
                Err(_) => self.renew().await.unwrap_or_else(|_| self.backoff.wait()),
                Ok(Some((service, reply))) => {
                    let tried = self.replace(service).await;
                    let wait = *tried.as_ref().unwrap_or(&Duration::ZERO);
                    reply.send(tried.map(drop)).ok();
                    wait
                }
                Ok(None) => break self.withdraw().await,
            };
        }
    }

    /// Announces `service` from now on, unless it is refused. Answers when to renew.
    async fn replace(&mut self, service: Service) -> Result<Duration, Error> {
        let before = self.current.replace(service);
        let tried = self.renew().await;
        match tried {
            Err(error) if !error.is_retryable() => {
                self.current = before;
                return Err(error);
            }
            _ => {}
        }
        if let (Some(mut old), Some(new)) = (before, &self.current) {
            let stays = |id: &str| old.name == new.name && new.endpoints.iter().any(|e| e.id == id);
            let gone: Vec<_> = old.endpoints.iter().filter(|e| !stays(&e.id)).cloned().collect();
            old.endpoints = gone;
            self.leftovers.extend((!old.endpoints.is_empty()).then_some(old));
        }
        if tried.is_ok() {
            self.clear_leftovers().await;
        }
        Ok(tried.unwrap_or_else(|_| self.backoff.wait()))
    }

    /// Announces the current record once. Answers when to do so again.
    async fn renew(&mut self) -> Result<Duration, Error> {
        let Some(current) = self.current.clone() else { return Ok(self.beat) };
        let (registry, backend) = (&self.registry, self.registry.backend());
        let limit = self.beat.max(ENOUGH);
        let tried =
            attempt(backend, "announce", limit, async { registry.announce(&current, self.ttl).await }).await;
        let (service, ids) = (&current.name, ids(&current));
        let was = self.report.send_replace(tried.is_ok());
        match &tried {
            Ok(()) if !was => tracing::info!(service, endpoints = ids, registry = backend, "announced"),
            Ok(()) => {}
            Err(error) => {
                let error = error.report();
                // Once an outage, as a watch: renewals are tried again about every second.
                if self.failing {
                    tracing::debug!(
                        service,
                        endpoints = ids,
                        registry = backend,
                        error,
                        "still cannot announce"
                    );
                } else {
                    tracing::warn!(service, endpoints = ids, registry = backend, error, "cannot announce");
                }
            }
        }
        self.failing = tried.is_err();
        tried?;
        self.taken = true;
        self.backoff.reset();
        self.clear_leftovers().await;
        // Never later than the beat, and not in step with everyone who started at the same moment.
        Ok(self.beat.mul_f64(1.0 - 0.2 * self.random.f64()))
    }

    async fn clear_leftovers(&mut self) {
        let mut remaining = Vec::new();
        for record in std::mem::take(&mut self.leftovers) {
            if self.take_back(&record, true).await.is_err_and(|error| error.is_retryable()) {
                remaining.push(record);
            }
        }
        self.leftovers = remaining;
    }

    /// Withdraws everything, again and again until the registry confirms it or the time is up; once where it never took
    /// anything, and is most likely not there at all.
    async fn withdraw(mut self) -> Result<(), Error> {
        let (begun, within) = (Instant::now(), self.withdraw_within);
        let left = || within.saturating_sub(begun.elapsed());
        self.leftovers.extend(self.current.take());
        let again = self.taken || self.ttl.is_zero();
        let mut done = Ok(());
        for record in std::mem::take(&mut self.leftovers) {
            let mut first = true;
            done = loop {
                match self.take_back(&record, first).await {
                    Err(error) if error.is_retryable() && again && !left().is_zero() => {
                        first = false;
                        sleep(self.backoff.wait().min(left())).await;
                    }
                    tried => break done.and(tried),
                }
            };
        }
        done
    }

    async fn take_back(&self, record: &Service, first: bool) -> Result<(), Error> {
        let (registry, backend) = (&self.registry, self.registry.backend());
        let limit = self.withdraw_within;
        let tried = attempt(backend, "withdraw", limit, async { registry.withdraw(record).await }).await;
        let (service, ids) = (&record.name, ids(record));
        match &tried {
            Ok(()) => tracing::info!(service, endpoints = ids, registry = backend, "withdrawn"),
            Err(error) => {
                let error = error.report();
                if first {
                    tracing::warn!(service, endpoints = ids, registry = backend, error, "cannot withdraw");
                } else {
                    tracing::debug!(
                        service,
                        endpoints = ids,
                        registry = backend,
                        error,
                        "still cannot withdraw"
                    );
                }
            }
        }
        tried
    }
}

/// Asks the registry, for no longer than `limit`; should it panic, that is an error like any other.
async fn attempt(
    backend: &'static str,
    what: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(failed(backend, what, "the registry panicked")),
        Err(late) => Err(failed(backend, what, late)),
    }
}

fn ids(service: &Service) -> String {
    let ids: Vec<_> = service.endpoints.iter().map(|endpoint| endpoint.id.as_str()).collect();
    ids.join(" ")
}
