//! One endpoint as policies and operators see it: who it is, and how it fares.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use crate::stats::Stats;

/// What discovery says of an endpoint, beside how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its share relative to others; 0 takes no requests unless every endpoint has 0. 1 unless given.
    pub weight: u32,
    /// Where it runs.
    pub zone: Option<Arc<str>>,
    /// Endpoints of the lowest number that can answer take all requests. 0 unless given.
    pub priority: u32,
    /// Whether it takes requests only where the others of its priority that are well do not suffice: less than 1 / 1.4 of
    /// all are. Envoy's `DEGRADED`. Health checks can find the same.
    pub degraded: bool,
    /// Labels, for policies that choose by them.
    pub metadata: Arc<BTreeMap<String, String>>,
}

impl Default for Attributes {
    fn default() -> Self {
        // All that have no labels share them: there may be many.
        static NONE: LazyLock<Arc<BTreeMap<String, String>>> = LazyLock::new(Arc::default);
        Self { weight: 1, zone: None, priority: 0, degraded: false, metadata: NONE.clone() }
    }
}

/// One endpoint as a [`Policy`](crate::policy::Policy) sees it.
#[derive(Clone)]
pub struct Endpoint {
    stats: Arc<Stats>,
    about: Arc<About>,
}

/// What discovery says of an endpoint, out of the way of what changes: a policy looks at many. Those of whom it
/// says the same share it.
#[derive(Debug)]
pub(crate) struct About {
    attributes: Attributes,
    warmth: f64,
}

impl About {
    pub(crate) fn new(attributes: Attributes) -> Arc<Self> {
        Arc::new(Self { attributes, warmth: 1.0 })
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

impl Endpoint {
    pub(crate) fn new(about: Arc<About>, stats: Arc<Stats>) -> Self {
        Self { stats, about }
    }

    /// The same endpoint with a part of its weight, while it is new.
    pub(crate) fn warming(&self, warmth: f64) -> Self {
        let about = About { attributes: self.about.attributes.clone(), warmth };
        Self { stats: self.stats.clone(), about: Arc::new(about) }
    }

    /// The name discovery gives it.
    pub fn id(&self) -> &str {
        self.stats.id()
    }

    /// What discovery says of it.
    pub fn attributes(&self) -> &Attributes {
        &self.about.attributes
    }

    /// Its share relative to others: its weight, or at first a part of it with
    /// [`SlowStart`](crate::eligible::SlowStart). Never 0, as a set with one of weight 0 has no others.
    pub fn weight(&self) -> f64 {
        f64::from(self.about.attributes.weight.max(1)) * self.about.warmth
    }

    /// Which part of its weight it has; 1 unless it starts slowly.
    pub fn warmth(&self) -> f64 {
        self.about.warmth
    }

    /// How many requests it is busy with, each from the pick to the end of its answer.
    #[inline]
    pub fn in_flight(&self) -> u64 {
        self.stats.in_flight()
    }

    /// The estimate of its latency as the last answer left it; `None` before the first answer, and with a
    /// policy that does not measure time.
    pub fn latency(&self) -> Option<Duration> {
        self.stats.latency().last().map(|nanos| Duration::from_nanos(nanos as u64))
    }

    #[inline]
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Where it stands among others: by its id, and by its age where two have the same.
    pub(crate) fn place(&self) -> (&str, u64) {
        (self.stats.id(), self.stats.serial())
    }

    /// Whether both are one, and discovery says the same of both.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stats, &other.stats) && Arc::ptr_eq(&self.about, &other.about)
    }

    pub(crate) fn shared_id(&self) -> &Arc<str> {
        self.stats.id()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("id", &self.id()).field("in_flight", &self.in_flight()).finish()
    }
}
