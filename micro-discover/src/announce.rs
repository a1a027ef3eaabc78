//! A live announcement: put, renewed, put again when the registry forgot, withdrawn at the end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::BoxError;

use crate::backoff::Backoff;
use crate::record::Service;
use crate::registry::{Error, Registry, check_announced};

/// How to announce a service; [`start`](Self::start) does it.
#[derive(Debug)]
#[must_use = "nothing is announced before start"]
pub struct Announce {
    registry: Arc<dyn Registry>,
    service: Service,
    ttl: Duration,
    withdraw_within: Duration,
    random: fastrand::Rng,
}

impl Announce {
    /// Announces `service` in `registry`, with a TTL of 15 s.
    pub fn new(registry: Arc<dyn Registry>, service: Service) -> Self {
        Self {
            registry,
            service,
            ttl: Duration::from_secs(15),
            withdraw_within: Duration::from_secs(5),
            random: fastrand::Rng::new(),
        }
    }

    /// Sets for how long clients believe in an endpoint that is silent. It is renewed about three times as often. Zero
    /// is for ever; it is then renewed every 10 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long [`Announcement::withdraw`] may take: 5 s when nothing is said.
    pub fn withdraw_within(mut self, limit: Duration) -> Self {
        self.withdraw_within = limit;
        self
    }

    /// Makes the moments of renewal the same in every run.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = fastrand::Rng::with_seed(seed);
        self
    }

    /// Announces the service from now on, on a task of its own. Returns after the first try, even if the registry
    /// could not be reached: the server can serve, and the task goes on trying.
    ///
    /// An id is one process's. Where another one announces an endpoint of the same service and id at another address the
    /// two replace each other's record, and either warns in the log, once, with the id and both addresses: in `file:`,
    /// etcd, a bucket of NATS and at an agent of Consul when it renews, over NATS and multicast DNS when it hears of it.
    ///
    /// # Errors
    ///
    /// When trying again is no use: the record breaks a rule, or the registry takes no announcements.
    pub async fn start(self) -> Result<Announcement, Error> {
        let (commands, orders) = mpsc::channel(1);
        let (report, announced) = watch::channel(false);
        let backend = self.registry.backend();
        let beat = if self.ttl.is_zero() { FOR_EVER_BEAT } else { self.ttl / 3 };
        let keeper = Keeper {
            backoff: Backoff::new(beat.min(LONGEST_WAIT), self.random.clone()),
            registry: self.registry,
            ttl: self.ttl,
            beat,
            random: self.random,
            withdraw_within: self.withdraw_within,
            report,
            failing: false,
            taken: false,
            current: None,
            leftovers: Vec::new(),
        };
        let task = tokio::spawn(keeper.run(orders));
        let withdraw_within = self.withdraw_within;
        let announcement = Announcement { commands, announced, task, backend, withdraw_within };
        announcement.update(self.service).await?;
        Ok(announcement)
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(10);
const FOR_EVER_BEAT: Duration = Duration::from_secs(10);
/// What a registry needs to find out that the server it uses hangs, and to ask another one, however short the TTL is.
const ENOUGH: Duration = Duration::from_secs(5);

/// A service that is being announced.
///
/// Dropping it stops the renewals and withdraws the endpoints in the background, if the runtime still runs; better
/// await [`withdraw`](Self::withdraw).
#[derive(Debug)]
#[must_use = "dropping an announcement withdraws it"]
pub struct Announcement {
    commands: mpsc::Sender<Update>,
    announced: watch::Receiver<bool>,
    task: JoinHandle<Result<(), Error>>,
    backend: &'static str,
    withdraw_within: Duration,
}

type Update = (Service, oneshot::Sender<Result<(), Error>>);

impl Announcement {
    /// Announces `service` instead from now on, e.g. with weight 0 to be drained. Endpoints it no longer has are
    /// withdrawn once it is announced. Like [`Announce::start`] this returns after the first try, and the task
    /// goes on; a caller that stops waiting stops nothing.
    ///
    /// # Errors
    ///
    /// When trying again is no use; the announcement then stays as it was.
    pub async fn update(&self, service: Service) -> Result<(), Error> {
        check_announced(self.backend, &service)?;
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send((service, reply)).await;
        match (sent, answer.await) {
            (Ok(()), Ok(tried)) => tried,
            _ => Err(failed(self.backend, "announce", "the announcement's task is gone")),
        }
    }

    /// Whether the registry took the latest renewal.
    pub fn is_announced(&self) -> bool {
        *self.announced.borrow()
    }

    /// Waits until the registry has taken it.
    pub async fn announced(&self) {
        // The task ends only with this handle, so the state is not lost.
        self.announced.clone().wait_for(|announced| *announced).await.ok();
    }

    /// Stops the renewals and withdraws the endpoints, trying again within the limit of
    /// [`Announce::withdraw_within`] where the registry has ever taken them. A caller that stops waiting stops nothing.
    ///
    /// # Errors
    ///
    /// When the registry did not confirm; clients then stop believing in the endpoints when the TTL has passed.
    pub async fn withdraw(self) -> Result<(), Error> {
        drop(self.commands);
        match timeout(self.withdraw_within, self.task).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(failed(self.backend, "withdraw", error)),
            Err(error) => Err(failed(self.backend, "withdraw in time", error)),
        }
    }
}

fn failed(backend: &'static str, what: &str, source: impl Into<BoxError>) -> Error {
    Error::Unavailable { backend, what: what.to_owned(), source: source.into() }
}

/// The task behind an [`Announcement`].
struct Keeper {
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
    async fn run(mut self, mut orders: mpsc::Receiver<Update>) -> Result<(), Error> {
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
