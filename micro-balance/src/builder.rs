//! What a balancer can be told before it starts.

mod build;

use std::{fmt, hash::Hash, marker::PhantomData, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tower::{BoxError, discover::Discover};
use tower_service::Service;

use crate::{
    balance::Balance,
    driver::{Describe, Places, Probe, Reconnect},
    eject::Ejection,
    eligible::{Eligibility, Locality, Priority, SlowStart, Subset},
    endpoint::Attributes,
    health::{Check, HealthCheck, Supervisor},
    listen::{Listener, Reporter},
    policy::{Load, PeakEwma, Policy},
    prober::LoadProbe,
    protocol::Opaque,
};

/// Sets up a [`Balance`].
#[must_use = "a balancer does nothing until it is built"]
pub struct Builder<D: Discover, Req, P = PeakEwma, T = Opaque> {
    discover: D,
    policy: P,
    protocol: T,
    ejection: Ejection,
    eligibility: Eligibility,
    failfast: Duration,
    drain: Option<Duration>,
    listener: Option<Listener<D::Service>>,
    reconnect: Reconnect,
    places: Places,
    name: Option<Arc<str>>,
    seed: Option<u64>,
    describe: Describe<D::Key, D::Service>,
    probe: Option<Probe<D::Service>>,
    supervisor: Option<Arc<Supervisor<D::Service>>>,
    load_probe: Option<LoadProbe<D::Service>>,
    figures: Option<Duration>,
    request: PhantomData<fn(Req)>,
}

impl<S, Req> Balance<S, Req>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    Req: Send + 'static,
{
    /// Balances over what `discover` yields, with every default.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn new<D>(discover: D) -> Self
    where
        D: Discover<Service = S> + Send + Unpin + 'static,
        D::Key: Hash + Clone + fmt::Debug + Send + Sync,
        D::Error: fmt::Display,
        S::Future: Send,
    {
        Self::builder(discover).build()
    }

    /// Balances over what `discover` yields, as set up further.
    pub fn builder<D: Discover<Service = S>>(discover: D) -> Builder<D, Req> {
        Builder::new(discover)
    }
}

impl<D: Discover, Req> Builder<D, Req> {
    pub(crate) fn new(discover: D) -> Self {
        Self {
            discover,
            policy: PeakEwma::new(),
            protocol: Opaque,
            ejection: Ejection::default(),
            eligibility: Eligibility::default(),
            failfast: Duration::from_secs(3),
            drain: None,
            listener: None,
            reconnect: Reconnect::default(),
            places: None,
            name: None,
            seed: None,
            describe: Box::new(|_, _| Attributes::default()),
            probe: None,
            supervisor: None,
            load_probe: None,
            figures: None,
            request: PhantomData,
        }
    }
}

impl<D: Discover, Req, P, T> Builder<D, Req, P, T> {
    /// Chooses endpoints by `policy`; [`PeakEwma`] unless given.
    pub fn policy<Q: Policy>(self, policy: Q) -> Builder<D, Req, Q, T> {
        self.with(policy, |old, policy| (policy, old.1))
    }

    /// Reads requests and answers by `protocol`; [`Opaque`] unless given. For HTTP and gRPC that is
    /// [`Http`](crate::Http).
    pub fn protocol<U>(self, protocol: U) -> Builder<D, Req, P, U> {
        self.with(protocol, |old, protocol| (old.0, protocol))
    }

    /// Chooses endpoints as `config` says.
    #[cfg(feature = "config")]
    pub fn configured(
        mut self,
        config: &crate::config::Balancing,
    ) -> Builder<D, Req, crate::policy::Boxed, T> {
        self.eligibility = Eligibility {
            subset: config.subset,
            priority: config.priority,
            locality: config.locality.clone(),
            slow_start: config.slow_start,
        };
        self.policy(config.policy.build())
    }

    fn with<X, Q, U>(self, new: X, place: impl FnOnce((P, T), X) -> (Q, U)) -> Builder<D, Req, Q, U> {
        let (policy, protocol) = place((self.policy, self.protocol), new);
        Builder {
            policy,
            protocol,
            discover: self.discover,
            ejection: self.ejection,
            eligibility: self.eligibility,
            failfast: self.failfast,
            drain: self.drain,
            listener: self.listener,
            reconnect: self.reconnect,
            places: self.places,
            name: self.name,
            seed: self.seed,
            describe: self.describe,
            probe: self.probe,
            supervisor: self.supervisor,
            load_probe: self.load_probe,
            figures: self.figures,
            request: PhantomData,
        }
    }

    /// Leaves endpoints that fail out as `ejection` says.
    pub fn ejection(mut self, ejection: Ejection) -> Self {
        self.ejection = ejection;
        self
    }

    /// Uses a part of the endpoints only; all of them unless given.
    pub fn subset(mut self, subset: Subset) -> Self {
        self.eligibility.subset = Some(subset);
        self
    }

    /// How endpoints of a higher priority number stand in for those of a lower one.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.eligibility.priority = priority;
        self
    }

    /// How requests are shared between zones.
    pub fn locality(mut self, locality: Locality) -> Self {
        self.eligibility.locality = locality;
        self
    }

    /// Gives endpoints that are new less weight; all of it unless given.
    pub fn slow_start(mut self, slow_start: SlowStart) -> Self {
        self.eligibility.slow_start = Some(slow_start);
        self
    }

    /// Leaves endpoints that discovery removes to the sessions they have, for so long; not unless given. They take
    /// nothing but what [`OverrideHost`](crate::policy::OverrideHost) sends there.
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = Some(time);
        self
    }

    /// For how long requests wait while no endpoint is ready, counted from when the last one was lost or
    /// a new one was found; 3 s unless given, for ever with [`Duration::MAX`]. After that they fail at once until one
    /// is. With [`Duration::ZERO`] they fail as soon as each has failed to connect, as gRPC's calls do.
    pub fn failfast(mut self, limit: Duration) -> Self {
        self.failfast = limit;
        self
    }

    /// How long to wait between attempts to connect an endpoint.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// At most so many endpoints are being connected at once, at least one; no limit unless given. The others have
    /// their turn in the order of discovery; an attempt that takes longer than a second counts no more.
    ///
    /// For sets so large that connecting all of them at once is too much for this process or the network.
    pub fn connecting(mut self, at_once: usize) -> Self {
        self.places = Some(Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))));
        self
    }

    /// Names the service in errors and logs.
    pub fn service_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Makes every random choice repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Tells weight, zone, priority and labels of an endpoint. One of which it panics has none of its own.
    pub fn attributes<F>(mut self, describe: F) -> Self
    where
        F: Fn(&D::Key, &D::Service) -> Attributes + Send + Sync + 'static,
    {
        self.describe = Box::new(describe);
        self
    }

    /// Asks an ejected endpoint whether it is well again, out of band. Without it one request at a time is
    /// let through to find out.
    pub fn probe<F, R>(mut self, probe: F) -> Self
    where
        F: Fn(D::Service) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.probe = Some(Arc::new(move |service| Box::pin(probe(service))));
        self
    }

    /// Asks every endpoint, beside the requests, whether it is well; one that is not is left out.
    ///
    /// No endpoint takes requests before its first answer.
    pub fn health_check(mut self, schedule: HealthCheck, check: impl Check<D::Service>) -> Self
    where
        D::Service: Clone + Send + Sync + 'static,
    {
        self.supervisor = Some(Arc::new(Supervisor::new(schedule, check)));
        self
    }

    /// Listens to what endpoints say of their load beside the requests, for
    /// [`OrcaWeighted`](crate::policy::OrcaWeighted); not unless given. `OutOfBand` does so by gRPC.
    pub fn load_reporter(mut self, reporter: impl Reporter<D::Service>) -> Self
    where
        D::Service: Clone + Send + Sync + 'static,
    {
        self.listener = Some(Listener::new(reporter));
        self
    }

    /// Asks an endpoint how busy it is, out of band, for [`Prequal`](crate::policy::Prequal).
    pub fn load_probe<F, R>(mut self, probe: F) -> Self
    where
        F: Fn(D::Service) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Load, BoxError>> + Send + 'static,
    {
        self.load_probe = Some(Arc::new(move |service| Box::pin(probe(service))));
        self
    }

    /// Tells its figures to the [`metrics`] facade every so often, at most a thousand times a second; not unless given.
    ///
    /// By `service` and `endpoint`: `micro_balance_picks_total`, `_failures_total`, `_endpoint_ejections_total`,
    /// `_in_flight`, `_latency_seconds` (a histogram, to within an eighth), `_latency_estimate_seconds`, `_weight` and
    /// `_endpoint_ready`; by `service`: `_endpoints` of each `state`, and `_ejections_total` by `reason`, `enforced`
    /// or not. Requests pay no more than to count how long they took: the balancer's own task tells the rest.
    pub fn metrics(mut self, every: Duration) -> Self {
        self.figures = Some(every.max(Duration::from_millis(1)));
        self
    }
}

impl<D: Discover, Req, P: fmt::Debug, T: fmt::Debug> fmt::Debug for Builder<D, Req, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("policy", &self.policy)
            .field("protocol", &self.protocol)
            .field("ejection", &self.ejection)
            .field("failfast", &self.failfast)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
