//! What a client can be told before it starts.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use micro_balance::{
    Balance, Ejection, Http,
    health::{Check, HealthCheck},
    policy::{PeakEwma, Policy},
    retry::RetryLayer,
};
use micro_discover::{Endpoint, Endpoints, Filter, Registry, Watch};
use tower::discover::Discover;

use super::{Attempt, Client, endpoints::ConnectedEndpoints};
use crate::{
    deadline::DeadlineLayer,
    transport::{Connection, Connector},
};

/// For how long a registry that says that nobody is there is not believed.
const KEEP_WHEN_EMPTY: Duration = Duration::from_secs(30);

/// How an endpoint is asked whether it is well.
type HealthOf = Arc<dyn Check<Connection<Attempt>>>;

/// Sets up a [`Client`].
#[must_use = "a client does nothing until it is built"]
pub struct Builder<D = Endpoints, P = PeakEwma> {
    name: Arc<str>,
    discover: D,
    policy: P,
    connector: Connector,
    deadline: DeadlineLayer,
    retry: RetryLayer,
    ejection: Ejection,
    failfast: Option<Duration>,
    seed: Option<u64>,
    health: Option<(HealthCheck, HealthOf)>,
    metrics: Option<Duration>,
    attempt_timeout: Option<Duration>,
}

impl Client {
    /// A client of the service called `name`, whose endpoints `registry` knows.
    pub fn builder(name: impl Into<Arc<str>>, registry: Arc<dyn Registry>) -> Builder {
        let name = name.into();
        let endpoints = Endpoints::new(Watch::new(registry, &*name)).keep_when_empty(KEEP_WHEN_EMPTY);
        Self::builder_over(name, endpoints)
    }

    /// A client over the endpoints that `discover` finds; `name` stands in errors and logs.
    pub fn builder_over<D>(name: impl Into<Arc<str>>, discover: D) -> Builder<D>
    where
        D: Discover<Service = Endpoint>,
    {
        Builder {
            name: name.into(),
            discover,
            policy: PeakEwma::new(),
            connector: Connector::new(),
            deadline: DeadlineLayer::new(),
            retry: RetryLayer::new(),
            ejection: Ejection::default(),
            failfast: None,
            seed: None,
            health: None,
            metrics: None,
            attempt_timeout: None,
        }
    }
}

impl<P> Builder<Endpoints, P> {
    /// Calls only endpoints that `filter` lets through, and earlier filters did.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.discover = self.discover.filter(filter);
        self
    }

    /// Keeps the endpoints it knows for this long while the registry says that there are none at all; 30 s unless
    /// set. Zero believes the registry at once.
    pub fn keep_when_empty(mut self, time: Duration) -> Self {
        self.discover = self.discover.keep_when_empty(time);
        self
    }
}

impl<D, P> Builder<D, P> {
    /// Chooses endpoints by `policy`; [`PeakEwma`] unless given.
    pub fn policy<Q: Policy>(self, policy: Q) -> Builder<D, Q> {
        Builder {
            policy,
            name: self.name,
            discover: self.discover,
            connector: self.connector,
            deadline: self.deadline,
            retry: self.retry,
            ejection: self.ejection,
            failfast: self.failfast,
            seed: self.seed,
            health: self.health,
            metrics: self.metrics,
            attempt_timeout: self.attempt_timeout,
        }
    }

    /// Connects by `connector`, for HTTP/1, TLS or other timeouts.
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// Gives every call this long at most, with all its attempts and the whole answer; a caller's earlier
    /// deadline holds anyway. Without it, a call that has no deadline waits for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = self.deadline.timeout(timeout);
        self
    }

    /// Gives each attempt this long until its answer begins; the next goes elsewhere, if the call may be repeated.
    /// Without it, an attempt lasts as long as the call may. A short answer that comes too slowly is given up as well:
    /// see [`RetryLayer::whole`].
    ///
    /// With [`RetryLayer::share_time`] it follows from the call's own time, and this may be left out.
    ///
    /// What saves calls to an endpoint that has frozen: its connections stand, and nothing comes back.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = Some(limit);
        self
    }

    /// Sends again by `retry`; `RetryLayer::new().attempts(1)` only sends again what was not sent.
    pub fn retry(mut self, retry: RetryLayer) -> Self {
        self.retry = retry;
        self
    }

    /// Leaves out endpoints that fail as `ejection` says.
    pub fn ejection(mut self, ejection: Ejection) -> Self {
        self.ejection = ejection;
        self
    }

    /// Asks every endpoint, beside the calls, whether it is well, and leaves out one that is not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// use micro_balance::health::{GrpcCheck, HealthCheck};
    /// # let registry = micro_discover::open("fixed://127.0.0.1:8080")?;
    ///
    /// let client = micro_tower::Client::builder("greeter", registry)
    ///     .health_check(HealthCheck::default(), GrpcCheck::new("greeter.Greeter"))
    ///     .build();
    /// # drop(client);
    /// # Ok(())
    /// # }
    /// ```
    pub fn health_check(mut self, schedule: HealthCheck, check: impl Check<Connection<Attempt>>) -> Self {
        self.health = Some((schedule, Arc::new(check)));
        self
    }

    /// Tells the `metrics` facade of endpoints every so often, and of each retry.
    pub fn metrics(mut self, every: Duration) -> Self {
        self.metrics = Some(every);
        self
    }

    /// For how long calls wait for an endpoint while none is ready.
    pub fn failfast(mut self, limit: Duration) -> Self {
        self.failfast = Some(limit);
        self
    }

    /// Makes the choices of the balancer repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts to look for endpoints and to connect to them.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn build(self) -> Client<P>
    where
        D: Discover<Service = Endpoint, Error: fmt::Display> + Send + Unpin + 'static,
        D::Key: Hash + Clone + fmt::Debug + Send + Sync + Unpin,
        P: Policy,
    {
        let connected = ConnectedEndpoints::new(self.discover, self.connector.service(self.name.clone()));
        let attributes = connected.attributes();
        let mut retry = self.retry;
        if let Some(limit) = self.attempt_timeout {
            retry = retry.whole_timeout(limit);
        }
        if self.metrics.is_some() {
            retry = retry.metrics(self.name.clone());
        }
        let mut balance = Balance::builder(connected)
            .service_name(self.name)
            .ejection(self.ejection)
            .attributes(attributes)
            .policy(self.policy)
            .protocol(Http);
        if let Some(limit) = self.failfast {
            balance = balance.failfast(limit);
        }
        if let Some(seed) = self.seed {
            balance = balance.seed(seed);
        }
        if let Some(every) = self.metrics {
            balance = balance.metrics(every);
        }
        if let Some((schedule, check)) = self.health {
            balance = balance.health_check(schedule, check);
        }
        Client::new(self.deadline, retry, self.attempt_timeout, balance.build())
    }
}

impl<D, P: fmt::Debug> fmt::Debug for Builder<D, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .field("connector", &self.connector)
            .field("deadline", &self.deadline)
            .field("retry", &self.retry)
            .field("ejection", &self.ejection)
            .finish_non_exhaustive()
    }
}
