//! A policy whose kind is known only when the program runs.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use super::{Context, LoadReports, Policy, Probing, Timing, Turnover, Turns, of_inner::of_inner};
use crate::endpoint::Endpoint;

/// Any policy behind one type: for those that are named in a configuration.
///
/// A pick costs a call through a pointer more. Clones share what the policy keeps, such as its cursor.
///
/// ```
/// use micro_balance::policy::{Boxed, LeastRequest, RoundRobin};
///
/// let fair = true;
/// let policy = if fair { Boxed::new(RoundRobin::new()) } else { Boxed::new(LeastRequest) };
/// ```
#[derive(Clone)]
pub struct Boxed {
    name: &'static str,
    policy: Arc<dyn AnyPolicy>,
}

type AnyTable = Box<dyn Any + Send + Sync>;

trait AnyPolicy: Send + Sync {
    fn table(&self, endpoints: &[Endpoint]) -> AnyTable;
    fn update(&self, before: &AnyTable, turnover: &Turnover<'_>) -> Option<AnyTable>;
    fn pick(&self, table: &AnyTable, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize>;
    fn claims(&self, table: &AnyTable, context: &Context<'_>) -> bool;
    fn admits(&self, table: &AnyTable, endpoint: &Endpoint, context: &Context<'_>) -> bool;
    fn keeps(&self, draining: &[Endpoint], context: &Context<'_>) -> Option<usize>;
    fn turns(&self, endpoints: &[Endpoint]) -> Option<Turns>;
    fn refresh(&self) -> Option<Duration>;
    fn load_reports(&self) -> Option<LoadReports>;
    fn probing(&self) -> Option<Arc<Probing>>;
    fn is_strict(&self) -> bool;
    fn timing(&self) -> Option<Timing>;
}

impl<P: Policy> AnyPolicy for P {
    fn table(&self, endpoints: &[Endpoint]) -> AnyTable {
        Box::new(Policy::table(self, endpoints))
    }

    fn update(&self, before: &AnyTable, turnover: &Turnover<'_>) -> Option<AnyTable> {
        Some(Box::new(Policy::update(self, (**before).downcast_ref()?, turnover)?))
    }

    fn pick(&self, table: &AnyTable, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        Policy::pick(self, (**table).downcast_ref()?, endpoints, context)
    }

    fn claims(&self, table: &AnyTable, context: &Context<'_>) -> bool {
        (**table).downcast_ref().is_some_and(|table| Policy::claims(self, table, context))
    }

    fn admits(&self, table: &AnyTable, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        (**table).downcast_ref().is_none_or(|table| Policy::admits(self, table, endpoint, context))
    }

    fn keeps(&self, draining: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        Policy::keeps(self, draining, context)
    }

    fn turns(&self, endpoints: &[Endpoint]) -> Option<Turns> {
        Policy::turns(self, endpoints)
    }

    fn refresh(&self) -> Option<Duration> {
        Policy::refresh(self)
    }

    fn load_reports(&self) -> Option<LoadReports> {
        Policy::load_reports(self)
    }

    fn probing(&self) -> Option<Arc<Probing>> {
        Policy::probing(self)
    }

    fn is_strict(&self) -> bool {
        Policy::is_strict(self)
    }

    fn timing(&self) -> Option<Timing> {
        Policy::timing(self)
    }
}

impl Boxed {
    /// Hides the kind of `policy`.
    pub fn new<P: Policy>(policy: P) -> Self {
        let name = std::any::type_name::<P>();
        let name = name.split('<').next().and_then(|name| name.rsplit("::").next()).unwrap_or(name);
        Self { name, policy: Arc::new(policy) }
    }
}

impl Policy for Boxed {
    type Table = AnyTable;

    fn table(&self, endpoints: &[Endpoint]) -> AnyTable {
        self.policy.table(endpoints)
    }

    fn update(&self, before: &AnyTable, turnover: &Turnover<'_>) -> Option<AnyTable> {
        self.policy.update(before, turnover)
    }

    #[inline]
    fn pick(&self, table: &AnyTable, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.policy.pick(table, endpoints, context)
    }

    fn claims(&self, table: &AnyTable, context: &Context<'_>) -> bool {
        self.policy.claims(table, context)
    }

    fn admits(&self, table: &AnyTable, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        self.policy.admits(table, endpoint, context)
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

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Boxed").field(&self.name).finish()
    }
}
