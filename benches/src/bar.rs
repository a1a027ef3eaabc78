//! A claim and what became of it.

use std::fmt;

/// A figure that must not exceed its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What was measured, in one word.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// The most it may be.
    pub limit: f64,
}

impl Bar {
    /// The claim that `value` does not exceed `limit`.
    pub fn at_most(name: impl Into<String>, value: f64, limit: f64) -> Self {
        Self { name: name.into(), value, limit }
    }

    /// Whether the claim holds. A figure that could not be measured never does.
    pub fn holds(&self) -> bool {
        self.value <= self.limit
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "ok" } else { "miss" };
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
    }

    #[test]
    fn what_could_not_be_measured_is_a_miss() {
        assert!(!Bar::at_most("pick", f64::NAN, 1.0).holds());
    }
}
