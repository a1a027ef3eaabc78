//! Makes of settings what handles share, and starts the tasks beside them.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tower::{BoxError, discover::Discover};
use tower_service::Service;

use super::Builder;
use crate::{
    balance::Balance,
    chance::Chance,
    driver::Driver,
    eligible::Counters,
    meter::Meter,
    over::Over,
    policy::{PeakEwma, Policy},
    prober,
    protocol::Protocol,
    settings::Settings,
    shared::{AbortOnDrop, Shared},
    snapshot::Snapshot,
};

/// Parts the prober's chances from the others'.
const PROBER: u64 = 0x5bf0_3635_dcd4_77c5;

impl<D: Discover, Req, P, T> Builder<D, Req, P, T> {
    /// Starts the balancer.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn build(self) -> Balance<D::Service, Req, P, T>
    where
        D: Send + Unpin + 'static,
        D::Key: Hash + Clone + fmt::Debug + Send + Sync,
        D::Error: fmt::Display,
        D::Service: Service<Req> + Clone + Send + Sync + 'static,
        <D::Service as Service<Req>>::Error: Into<BoxError>,
        P: Policy,
        T: Protocol<Req, <D::Service as Service<Req>>::Response>,
        Req: 'static,
    {
        let wanted = self.ejection.compares_latencies().then(PeakEwma::new).and_then(|usual| usual.timing());
        let mut settings = Settings::new(self.policy.timing().or(wanted), self.ejection);
        settings.load_reports = self.policy.load_reports();
        settings.times = self.figures.is_some();
        let settings = Arc::new(settings);
        let now = Instant::now();
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Snapshot::unresolved(now)),
            version: AtomicU64::new(0),
            timed: (settings.timing.is_some() || settings.times).then(|| settings.clock.clone()),
            policy: self.policy,
            protocol: self.protocol,
            changed: Arc::new(Notify::new()),
            failfast: self.failfast,
            settings: settings.clone(),
            name: self.name.clone(),
            over: Over::default(),
            fallbacks: Counters::default(),
            driver: OnceLock::new(),
            prober: OnceLock::new(),
        });
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let chance = Chance::new(seed);
        let driver = Driver {
            shared: Arc::downgrade(&shared),
            settings,
            eligibility: self.eligibility,
            reconnect: self.reconnect,
            places: self.places,
            drain: self.drain,
            listener: self.listener,
            describe: self.describe,
            probe: self.probe,
            meter: self.figures.map(|every| Meter::new(every, self.name.as_ref())),
            supervisor: self.supervisor,
            chance: chance.clone(),
            name: self.name,
        };
        if let Some(probing) = shared.policy.probing() {
            let prober =
                prober::run(Arc::downgrade(&shared), probing, self.load_probe, Chance::new(seed ^ PROBER));
            let _ = shared.prober.set(AbortOnDrop(tokio::spawn(prober).abort_handle()));
        }
        let reports = mpsc::unbounded_channel();
        let task = tokio::spawn(driver.run::<D, Req>(self.discover, reports));
        // Set once, here: the cell is new.
        let _ = shared.driver.set(AbortOnDrop(task.abort_handle()));
        Balance::from_parts(shared, chance)
    }
}
