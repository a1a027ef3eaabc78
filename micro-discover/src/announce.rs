//! A live announcement: put, renewed, put again when the registry forgot, withdrawn at the end.

mod keeper;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::BoxError;

use self::keeper::Keeper;
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
        let (backend, withdraw_within) = (self.registry.backend(), self.withdraw_within);
        let keeper = Keeper::new(self.registry, self.ttl, withdraw_within, self.random, report);
        let task = tokio::spawn(keeper.run(orders));
        let announcement = Announcement { commands, announced, task, backend, withdraw_within };
        announcement.update(self.service).await?;
        Ok(announcement)
    }
}

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
