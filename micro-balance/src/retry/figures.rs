//! Figures of a retry layer for the [`metrics`] facade, written when something is sent again and not before.

use std::{fmt, sync::Arc};

use metrics::{Counter, Gauge, counter, gauge};

use super::budget::Budget;

/// The handles of one layer, made once.
#[derive(Clone)]
pub(crate) struct Figures {
    retries: Counter,
    unsent: Counter,
    refused: Counter,
    left: Gauge,
}

impl Figures {
    pub(super) fn new(service: Arc<str>) -> Self {
        let retries = |why: &'static str| counter!("micro_balance_retries_total", "service" => service.clone(), "why" => why);
        Self {
            retries: retries("failed"),
            unsent: retries("not_sent"),
            refused: counter!("micro_balance_retries_refused_total", "service" => service.clone()),
            left: gauge!("micro_balance_retry_budget_left", "service" => service),
        }
    }

    /// A failed attempt is sent again, and paid for.
    pub(super) fn retried(&self, budget: &Budget) {
        self.retries.increment(1);
        self.left.set(budget.balance() as f64);
    }

    /// What was not sent is sent again.
    pub(super) fn sent_again(&self) {
        self.unsent.increment(1);
    }

    /// The budget does not afford it.
    pub(super) fn refused(&self, budget: &Budget) {
        self.refused.increment(1);
        self.left.set(budget.balance() as f64);
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}
