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
    fn hash(&self, context: &Context<'_>) -> Option<u64>;
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

    fn hash(&self, context: &Context<'_>) -> Option<u64> {
        Policy::hash(self, context)
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

    fn hash(&self, context: &Context<'_>) -> Option<u64> {
        self.policy.hash(context)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::policy::{
        LabelOrder, LeastRequest, OrcaWeighted, OverrideHost, PeakEwma, PickFirst, Prequal, RoundRobin,
        fixture::alike,
    };

    /// What a policy is asked beside its picks.
    fn word(policy: &impl Policy) -> (bool, Option<Duration>, bool, bool, bool, bool) {
        (
            policy.turns(&alike(2, None)).is_some(),
            policy.refresh(),
            policy.load_reports().is_some(),
            policy.probing().is_some(),
            policy.is_strict(),
            policy.timing().is_some(),
        )
    }

    #[test]
    fn a_policy_in_a_box_says_of_itself_what_it_says_without() {
        fn says<P: Policy>(policy: P) -> (bool, Option<Duration>, bool, bool, bool, bool) {
            let word_of = word(&policy);
            assert_eq!(word(&Boxed::new(policy)), word_of, "{}", std::any::type_name::<P>());
            word_of
        }
        let strict = says(OverrideHost::new(RoundRobin::new()).strict());
        let words = [
            says(PeakEwma::new()),
            says(OrcaWeighted::new()),
            says(Prequal::new()),
            says(PickFirst::new()),
            says(LabelOrder::new()),
            says(LeastRequest),
            strict,
        ];
        // Each of them is said by one and not by another.
        assert!(words.iter().any(|word| word.0) && words.iter().any(|word| !word.0));
        assert!(words.iter().any(|word| word.1.is_some()) && words.iter().any(|word| word.1.is_none()));
        assert!(words.iter().any(|word| word.2) && words.iter().any(|word| !word.2));
        assert!(words.iter().any(|word| word.3) && words.iter().any(|word| !word.3));
        assert!(words.iter().any(|word| word.4) && words.iter().any(|word| !word.4));
        assert!(words.iter().any(|word| word.5) && words.iter().any(|word| !word.5));
    }
}
