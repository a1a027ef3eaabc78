//! The program beside the sidecar: announced while it is well, withdrawn when it is not or the sidecar ends.

use std::sync::Arc;
use std::time::Duration;

use micro_discover::{Address, Announce, Announcement, Endpoint, Error, Registry, Service};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::check::{Check, Unwell};
use crate::id;

/// The program beside the sidecar.
#[derive(Clone, Debug)]
#[must_use]
pub struct App {
    service: Service,
    check: Option<Check>,
    interval: Duration,
    timeout: Duration,
    threshold: u32,
}

/// Why a program cannot be announced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the app cannot be announced: {0}")]
pub struct InvalidApp(String);

/// How often it is asked until it is well for the first time: it may begin with its sidecar.
const STARTING: Duration = Duration::from_millis(500);

impl App {
    /// The program `name` that listens on `address`. Name and address make its id, and so does this machine's name where
    /// another machine may have the same address: a sidecar that follows one that was killed takes its record over.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule of records.
    pub fn new(name: impl Into<String>, address: Address) -> Result<Self, InvalidApp> {
        let name = name.into();
        let id = id::here(&name, &address);
        let service = Service::new(name).endpoint(Endpoint::new(id, address));
        service.validate().map_err(|error| InvalidApp(error.to_string()))?;
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(2));
        Ok(Self { service, check: None, interval, timeout, threshold: 1 })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.service.name
    }

    /// Announces it as this version; `latest` unless set.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.service = self.service.version(version);
        self
    }

    /// Announces it only while `check` says that it is well.
    pub fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// How often it is asked, 5 s unless set, but twice a second until it is well for the first time; and how long it may
    /// take to answer, 2 s unless set.
    pub fn interval(mut self, interval: Duration, timeout: Duration) -> Self {
        (self.interval, self.timeout) = (interval.max(Duration::from_millis(10)), timeout);
        self
    }

    /// How often in a row it may fail before it is withdrawn; 1 unless set.
    pub fn threshold(mut self, failures: u32) -> Self {
        self.threshold = failures.max(1);
        self
    }

    /// Whether it is well now.
    pub(super) async fn ask(&self) -> Result<(), Unwell> {
        match &self.check {
            Some(check) => check.ask(self.timeout).await,
            None => Ok(()),
        }
    }

    /// Keeps it announced while it is well, until `stop`; then withdraws it.
    pub(super) async fn keep(self, registry: Arc<dyn Registry>, stop: CancellationToken) {
        let mut announced: Option<Announcement> = None;
        let (mut failures, mut told, mut left, mut begun) = (0_u32, false, true, false);
        loop {
            let asked = tokio::select! {
                asked = self.ask() => asked,
                () = stop.cancelled() => break,
            };
            match asked {
                Ok(()) => (failures, begun) = (0, true),
                Err(why) => {
                    failures = self.threshold.min(failures.saturating_add(1));
                    if !told && failures == self.threshold {
                        tracing::warn!(app = self.service.name, %why, "the app is not well, and is not announced");
                    }
                }
            }
            told = failures == self.threshold;
            if failures == 0 && announced.is_none() {
                announced = self.announce(&registry).await;
                left &= announced.is_none();
            } else if told && let Some(announcement) = announced.take() {
                confirmed(&announcement.withdraw().await);
            } else if told && left {
                // A sidecar that was killed has left its record, which others would call until its TTL is over.
                left = !confirmed(&self.clear(&registry).await);
            }
            let wait = if begun { self.interval } else { self.interval.min(STARTING) };
            tokio::select! {
                () = sleep(wait), if self.check.is_some() || announced.is_none() => {}
                () = stop.cancelled() => break,
            }
        }
        if let Some(announcement) = announced {
            confirmed(&announcement.withdraw().await);
        }
    }

    /// Withdraws what is registered under its id, in whatever version.
    async fn clear(&self, registry: &Arc<dyn Registry>) -> Result<(), Error> {
        let is_own = |one: &Endpoint| self.service.endpoints.iter().any(|own| own.id == one.id);
        for mut record in registry.get(&self.service.name).await? {
            record.endpoints.retain(is_own);
            if !record.endpoints.is_empty() {
                registry.withdraw(&record).await?;
            }
        }
        Ok(())
    }

    async fn announce(&self, registry: &Arc<dyn Registry>) -> Option<Announcement> {
        match Announce::new(registry.clone(), self.service.clone()).start().await {
            Ok(announcement) => Some(announcement),
            Err(error) => {
                tracing::error!(app = self.service.name, %error, "the app cannot be announced");
                None
            }
        }
    }
}

/// Whether the app is withdrawn; says so where the registry does not.
fn confirmed(withdrawn: &Result<(), Error>) -> bool {
    if let Err(error) = withdrawn {
        tracing::warn!(%error, "the registry did not confirm that the app is withdrawn");
    }
    withdrawn.is_ok()
}
