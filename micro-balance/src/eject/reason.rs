//! Why an endpoint is ejected.

use std::fmt;

/// What a detector found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It failed too often in a row.
    Failures,
    /// It, or the proxy it is, could not reach what it needs, too often in a row.
    GatewayFailures,
    /// Requests to it broke on this side too often in a row.
    LocalFailures,
    /// Its success rate is too far below the others'.
    SuccessRate,
    /// It answers at all too seldom, beside the others.
    LocalSuccessRate,
    /// Too large a share of its requests failed.
    FailurePercentage,
    /// Too large a share of its requests broke on this side.
    LocalFailurePercentage,
    /// It is too slow beside the others.
    Latency,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Failures,
        Self::GatewayFailures,
        Self::LocalFailures,
        Self::SuccessRate,
        Self::LocalSuccessRate,
        Self::FailurePercentage,
        Self::LocalFailurePercentage,
        Self::Latency,
    ];

    /// Its name in figures and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failures => "consecutive_failures",
            Self::GatewayFailures => "gateway_failures",
            Self::LocalFailures => "local_failures",
            Self::SuccessRate => "success_rate",
            Self::LocalSuccessRate => "local_success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::LocalFailurePercentage => "local_failure_percentage",
            Self::Latency => "latency",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub(crate) const fn place(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_in_its_place() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.place(), place);
        }
    }
}
