//! A claim and what became of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::figure::or_nan;

/// A figure that must not exceed its limit.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bar {
    /// What was measured, in one word.
    pub name: String,
    /// The figure.
    #[serde(deserialize_with = "or_nan")]
    pub value: f64,
    /// The most it may be.
    pub limit: f64,
    /// Whether the run proves nothing: the machine was disturbed.
    pub void: bool,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Ok,
    /// It does not, or could not be measured.
    Miss,
    /// The run proves nothing.
    Void,
}

impl Bar {
    /// The claim that `value` does not exceed `limit`.
    pub fn at_most(name: impl Into<String>, value: f64, limit: f64) -> Self {
        Self { name: name.into(), value, limit, void: false }
    }

    /// The claim that `value` is at least `limit`: that its inverse does not exceed the inverse.
    pub fn at_least(name: impl Into<String>, value: f64, limit: f64) -> Self {
        Self::at_most(name, 1.0 / value, 1.0 / limit)
    }

    /// The same in a run that proves nothing, if `disturbed`.
    #[must_use]
    pub fn void_if(mut self, disturbed: bool) -> Self {
        self.void = disturbed;
        self
    }

    /// What became of it. A figure that could not be measured is a miss.
    pub fn verdict(&self) -> Verdict {
        match self.value <= self.limit {
            _ if self.void => Verdict::Void,
            true => Verdict::Ok,
            false => Verdict::Miss,
        }
    }

    /// Whether the claim holds.
    pub fn holds(&self) -> bool {
        self.verdict() == Verdict::Ok
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Ok => "ok",
            Verdict::Miss => "miss",
            Verdict::Void => "void",
        };
        write!(f, "bar {} {:.4} {:.4} {verdict}", self.name, self.value, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_name_value_limit_and_verdict() {
        assert_eq!(Bar::at_most("pick", 0.05, 0.0833).to_string(), "bar pick 0.0500 0.0833 ok");
        assert_eq!(Bar::at_most("pick", 0.1, 0.0833).to_string(), "bar pick 0.1000 0.0833 miss");
        assert_eq!(Bar::at_least("pick", 8.0, 5.0).to_string(), "bar pick 0.1250 0.2000 ok");
    }

    #[test]
    fn what_could_not_be_measured_is_a_miss() {
        let bar = Bar::at_most("pick", f64::NAN, 1.0);
        assert!(!bar.holds());
        let kept: Bar = serde_json::from_str(&serde_json::to_string(&bar).unwrap()).unwrap();
        assert_eq!(kept.verdict(), Verdict::Miss);
    }

    #[test]
    fn a_disturbed_run_proves_nothing_either_way() {
        assert_eq!(Bar::at_most("p99", 1.0, 2.0).void_if(true).verdict(), Verdict::Void);
        assert!(!Bar::at_most("p99", 1.0, 2.0).void_if(true).holds());
    }
}
