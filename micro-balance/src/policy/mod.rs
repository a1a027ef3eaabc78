//! Which endpoint is next.
//!
//! A policy sees only endpoints that can take requests, at least one of them, and answers with an index. It
//! picks through `&self`, so one policy serves every clone of a balancer at once. What it works out from the
//! set as a whole is its [`Table`](Policy::Table), built off the request path.
//!
//! ```
//! use micro_balance::{Endpoint, policy::{Context, Policy}};
//!
//! /// One request in a hundred goes to a canary.
//! struct Canary;
//!
//! impl Policy for Canary {
//!     type Table = Vec<usize>;
//!
//!     fn table(&self, endpoints: &[Endpoint]) -> Vec<usize> {
//!         let is_canary = |e: &Endpoint| e.attributes().metadata.contains_key("canary");
//!         (0..endpoints.len()).filter(|&i| is_canary(&endpoints[i])).collect()
//!     }
//!
//!     fn pick(&self, canaries: &Vec<usize>, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
//!         match canaries.first() {
//!             Some(&canary) if context.chance.below(100) == 0 => Some(canary),
//!             _ => Some(context.chance.below(endpoints.len())),
//!         }
//!     }
//! }
//! ```

mod alias;
mod aperture;
mod boxed;
mod cycle;
mod earliest_deadline;
mod first_attempts;
#[cfg(test)]
mod fixture;
mod hash_by;
mod hash_key;
mod label;
mod label_subset;
mod least_of;
mod least_request;
mod maglev;
mod modulo;
mod of_inner;
mod orca_weighted;
mod override_host;
mod part;
mod peak_ewma;
mod pick_first;
mod prequal;
mod random;
mod random_aperture;
mod relief;
mod rendezvous;
mod request_bias;
mod ring_hash;
mod round_robin;
mod shard;
mod smooth;
mod turnover;
mod weighted_round_robin;

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

pub(crate) use self::prequal::{Finding, Probing};
pub use self::{
    aperture::{Aperture, Part},
    boxed::Boxed,
    cycle::Cycle,
    earliest_deadline::EarliestDeadlineFirst,
    first_attempts::{Attempts, FirstAttempts},
    hash_by::HashBy,
    label::LabelOrder,
    label_subset::{LabelSubset, Otherwise, Subsets, Wanted},
    least_of::{LeastOf, LeastOfAll},
    least_request::{LeastRequest, LeastTable},
    maglev::{Maglev, Slots},
    modulo::Modulo,
    orca_weighted::OrcaWeighted,
    override_host::{ById, Override, OverrideHost, Source},
    peak_ewma::{PeakEwma, Warmth},
    pick_first::{PickFirst, interleaved},
    prequal::{Load, Prequal, Serials},
    random::{Random, RandomTable},
    random_aperture::RandomAperture,
    rendezvous::{Rendezvous, Scores},
    request_bias::{Deadlines, RequestBias},
    ring_hash::{Ring, RingHash},
    round_robin::{Phase, RoundRobin},
    shard::{Shard, ShardKeys, shard_order},
    smooth::SmoothWeightedRoundRobin,
    turnover::Turnover,
    weighted_round_robin::{Strides, WeightedRoundRobin},
};
use crate::{chance::Chance, clock::Moment, endpoint::Endpoint, parts::Parts};
pub use crate::{ewma::Timing, load_report::LoadReports};

/// Chooses an endpoint for each request.
pub trait Policy: Send + Sync + 'static {
    /// What is worked out once for each set of endpoints.
    type Table: Send + Sync + 'static;

    /// Works out the table of a set. Runs off the request path, whenever the set changes.
    fn table(&self, endpoints: &[Endpoint]) -> Self::Table;

    /// The table after a few endpoints came or went, from the one before; `None`, the default, makes it anew.
    ///
    /// For tables that take long to make: whatever this gives must be what [`table`](Policy::table) would.
    fn update(&self, before: &Self::Table, turnover: &Turnover<'_>) -> Option<Self::Table> {
        let _ = (before, turnover);
        None
    }

    /// Picks from `endpoints`, which are those `table` was made from and never none.
    ///
    /// An index out of bounds, or `None`, makes the balancer take any endpoint, unless the policy
    /// [is strict](Policy::is_strict). A pick of an endpoint that
    /// the request has been to is asked for again, with `context.attempt` one higher.
    fn pick(&self, table: &Self::Table, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize>;

    /// The hash of what keeps a request with others like it: they go to one zone where zones share requests, and to one priority
    /// where priorities do. The request's own unless given.
    fn hash(&self, context: &Context<'_>) -> Option<u64> {
        context.hash
    }

    /// Whether a request belongs with the endpoints of `table`, where others stand apart from them, by zone or by priority:
    /// then it goes to these first, whichever its turn is. None does unless given.
    fn claims(&self, table: &Self::Table, context: &Context<'_>) -> bool {
        let _ = (table, context);
        false
    }

    /// Whether a request may go to `endpoint` though it was not picked: as it is to find out whether that one, which is not
    /// among those of `table`, is well again, as those that were picked are not ready, or as it [keeps](Policy::keeps) to it.
    /// Any may unless given.
    fn admits(&self, table: &Self::Table, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        let _ = (table, endpoint, context);
        true
    }

    /// Which of `draining` a request belongs to, if any: endpoints that take nothing new, but go on with the
    /// sessions they have. None unless given.
    fn keeps(&self, draining: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let _ = (draining, context);
        None
    }

    /// For a policy that uses one endpoint at a time: in which order they are to be tried. `None`, the
    /// default, connects all; which of both it is, is asked with no endpoints. Runs off the request path; `endpoints`
    /// are in the order of discovery.
    fn turns(&self, endpoints: &[Endpoint]) -> Option<Turns> {
        let _ = endpoints;
        None
    }

    /// How soon the table is to be made anew although nothing has happened, a quarter of that more or less; `None`, the
    /// default, is never.
    fn refresh(&self) -> Option<Duration> {
        None
    }

    /// How reports of load are to be read; `None`, the default, does not read them.
    fn load_reports(&self) -> Option<LoadReports> {
        None
    }

    #[doc(hidden)]
    fn probing(&self) -> Option<Arc<Probing>> {
        None
    }

    /// Whether a request for which this picks nobody fails, rather than go anywhere.
    fn is_strict(&self) -> bool {
        false
    }

    /// How latencies are to be measured; `None`, the default, does not measure them.
    fn timing(&self) -> Option<Timing> {
        None
    }
}

/// The order in which endpoints are tried, until one is ready.
#[derive(Clone, Debug)]
pub struct Turns {
    /// Their indexes.
    pub order: Vec<usize>,
    /// How long one is tried before the next is tried as well.
    pub delay: Duration,
}

/// What a policy may know beside the endpoints.
#[derive(Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The request's own hash, for policies that keep a key on one endpoint.
    pub hash: Option<u64>,
    /// How many picks for this request were turned down before.
    pub attempt: u32,
    pub(crate) now: Option<Moment>,
    /// Where randomness comes from.
    pub chance: &'a Chance,
    /// The head of the request, if it has one.
    pub parts: Option<Parts<'a>>,
}

impl<'a> Context<'a> {
    /// The context of a first pick, for tests of policies.
    pub fn new(chance: &'a Chance) -> Self {
        Self { hash: None, attempt: 0, now: None, chance, parts: None }
    }

    /// A header of the request, the first of that name.
    pub fn header(&self, name: &HeaderName) -> Option<&'a HeaderValue> {
        self.parts.and_then(|parts| parts.headers.get(name))
    }

    /// An extension of the request.
    pub fn extension<X: Send + Sync + 'static>(&self) -> Option<&'a X> {
        self.parts.and_then(|parts| parts.extensions.get())
    }

    /// When the pick is made, from when the balancer was built; for policies with a [`Timing`].
    pub fn now(&self) -> Option<Duration> {
        self.now.map(|now| Duration::from_nanos(now.get()))
    }
}
