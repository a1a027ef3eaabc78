//! Failures in a row, of each kind, in one word.

use super::reason::Reason;
use crate::classify::Fault;

/// A lane of the word, and the most it counts to.
const BITS: u32 = 21;
const MOST: u64 = (1 << BITS) - 1;

/// How many failures came in a row: of any kind, of gateways, and on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows(u64);

impl Rows {
    /// No failure since the last success.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn of(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    fn new(any: u64, gateway: u64, local: u64) -> Self {
        Self(any.min(MOST) << (2 * BITS) | gateway.min(MOST) << BITS | local.min(MOST))
    }

    /// All failures; without those on this side when they are counted apart.
    pub(crate) fn any(self) -> u32 {
        (self.0 >> (2 * BITS)) as u32
    }

    pub(crate) fn gateway(self) -> u32 {
        (self.0 >> BITS & MOST) as u32
    }

    pub(crate) fn local(self) -> u32 {
        (self.0 & MOST) as u32
    }

    /// The rows where that of `reason` begins anew; what is no row is none of theirs.
    pub(crate) fn without(self, reason: Reason) -> Self {
        let (any, gateway, local) = (self.any().into(), self.gateway().into(), self.local().into());
        match reason {
            Reason::Failures => Self::new(0, gateway, local),
            Reason::GatewayFailures => Self::new(any, 0, local),
            Reason::LocalFailures => Self::new(any, gateway, 0),
            _ => self,
        }
    }

    /// The rows after one more failure. `apart` counts what fails on this side for itself: then it says
    /// nothing about what the endpoint answers, and an answer of any kind ends that row.
    pub(crate) fn after(self, fault: Fault, apart: bool) -> Self {
        let (any, gateway, local) = (self.any().into(), u64::from(self.gateway()), u64::from(self.local()));
        match fault {
            Fault::Local if apart => Self::new(any, gateway, local + 1),
            Fault::Local => Self::new(any + 1, gateway + 1, local + 1),
            Fault::Gateway => Self::new(any + 1, gateway + 1, 0),
            Fault::Server => Self::new(any + 1, 0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(faults: &[Fault], apart: bool) -> (u32, u32, u32) {
        let rows = faults.iter().fold(Rows::NONE, |rows, &fault| rows.after(fault, apart));
        (rows.any(), rows.gateway(), rows.local())
    }

    use Fault::{Gateway, Local, Server};

    #[test]
    fn a_failure_of_any_kind_counts_and_ends_the_rows_it_does_not_belong_to() {
        assert_eq!(rows(&[Server, Server], false), (2, 0, 0));
        assert_eq!(rows(&[Gateway, Local, Gateway], false), (3, 3, 0));
        assert_eq!(rows(&[Gateway, Server, Local], false), (3, 1, 1));
    }

    #[test]
    fn counted_apart_failures_on_this_side_and_answers_do_not_mix() {
        assert_eq!(rows(&[Server, Local, Local, Local], true), (1, 0, 3));
        assert_eq!(rows(&[Local, Local, Server], true), (1, 0, 0), "an answer came");
        assert_eq!(rows(&[Gateway, Local, Gateway], true), (2, 2, 0));
    }

    #[test]
    fn each_row_begins_anew_for_itself() {
        let rows = Rows::new(3, 2, 1);
        assert_eq!(rows.without(Reason::Failures), Rows::new(0, 2, 1));
        assert_eq!(rows.without(Reason::GatewayFailures), Rows::new(3, 0, 1));
        assert_eq!(rows.without(Reason::LocalFailures), Rows::new(3, 2, 0));
        assert_eq!(rows.without(Reason::SuccessRate), rows);
    }

    #[test]
    fn a_long_row_stays_at_the_most() {
        let full = Rows::new(MOST, MOST, MOST);
        assert_eq!(full.after(Local, false), full);
        assert_eq!(full.after(Server, false), Rows::new(MOST, 0, 0));
    }
}
