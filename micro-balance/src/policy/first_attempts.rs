//! Endpoints that are not sent what failed elsewhere.

use super::{Context, Policy, Turns, of_inner::of_inner, part::Part};
use crate::{endpoint::Endpoint, tried::Tried};

/// Sends endpoints with a label, canaries for one, first attempts only: a request that has been to one endpoint in vain, or that
/// is hedged, goes to one without that label while there is any, in whichever zone. Envoy's `omit_host_metadata` and
/// `omit_canary_hosts`, <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_connection_management#retry-plugin-configuration>.
///
/// A request is known to have been somewhere by its [`Tried`], which retries and hedges of [`retry`](crate::retry) and
/// [`hedge`](crate::hedge) keep.
///
/// ```
/// use micro_balance::policy::{FirstAttempts, PeakEwma};
///
/// let policy = FirstAttempts::new(PeakEwma::default(), "stage", "canary");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct FirstAttempts<P> {
    policy: P,
    labels: Vec<(String, String)>,
}

impl<P> FirstAttempts<P> {
    /// Endpoints whose label `key` is `value` take first attempts only; `policy` chooses.
    pub fn new(policy: P, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { policy, labels: Vec::new() }.and(key, value)
    }

    /// So do those with this one.
    pub fn and(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    fn spares(&self, endpoint: &Endpoint) -> bool {
        let metadata = &endpoint.attributes().metadata;
        self.labels.iter().any(|(key, value)| metadata.get(key) == Some(value))
    }
}

/// What [`FirstAttempts`] chooses from.
#[derive(Debug)]
pub struct Attempts<T> {
    all: T,
    /// Those without the label, if that is not all or none.
    others: Option<Part<T>>,
    /// Whether anybody is without the label.
    spares: bool,
}

impl<T> Attempts<T> {
    /// Those that the request may go to, unless it is all.
    fn others(&self, context: &Context<'_>) -> Option<&Part<T>> {
        self.others.as_ref().filter(|_| is_another(context))
    }
}

/// Whether the request has been somewhere before.
fn is_another(context: &Context<'_>) -> bool {
    context.extension::<Tried>().is_some_and(|tried| !tried.is_empty())
}

impl<P: Policy> Policy for FirstAttempts<P> {
    type Table = Attempts<P::Table>;

    fn table(&self, endpoints: &[Endpoint]) -> Self::Table {
        let indexes: Vec<_> = (0..endpoints.len()).filter(|&index| !self.spares(&endpoints[index])).collect();
        let spares = !indexes.is_empty();
        let some = spares && indexes.len() < endpoints.len();
        let others = some.then(|| Part::new(&self.policy, endpoints, indexes));
        Attempts { all: self.policy.table(endpoints), others, spares }
    }

    fn pick(&self, table: &Self::Table, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        match table.others(context) {
            Some(others) => others.pick(&self.policy, context),
            None => self.policy.pick(&table.all, endpoints, context),
        }
    }

    fn hash(&self, context: &Context<'_>) -> Option<u64> {
        self.policy.hash(context)
    }

    fn claims(&self, table: &Self::Table, context: &Context<'_>) -> bool {
        let within = table.others(context).map_or(&table.all, Part::table);
        table.spares && is_another(context) || self.policy.claims(within, context)
    }

    fn admits(&self, table: &Self::Table, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        let within = table.others(context).map_or(&table.all, Part::table);
        let spared = table.spares && is_another(context) && self.spares(endpoint);
        !spared && self.policy.admits(within, endpoint, context)
    }

    fn keeps(&self, draining: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.policy.keeps(draining, context)
    }

    fn turns(&self, endpoints: &[Endpoint]) -> Option<Turns> {
        self.policy.turns(endpoints)
    }

    of_inner!();

    fn is_strict(&self) -> bool {
        self.policy.is_strict()
    }
}
