//! What came of a scenario.

use crate::load::Noticed;

/// What was measured, and whether it is what the goal says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Holds,
    Missed,
    /// What it takes is not here: said, and not counted.
    Skipped,
}

impl Outcome {
    pub(crate) fn new(holds: bool, measured: impl Into<String>) -> Self {
        let verdict = if holds { Verdict::Holds } else { Verdict::Missed };
        Self { measured: measured.into(), verdict }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { measured: why.into(), verdict: Verdict::Skipped }
    }

    /// Whether nobody noticed anything, and `also`.
    pub(crate) fn unnoticed(noticed: &Noticed, also: bool, more: &str) -> Self {
        Self::new(noticed.failed == 0 && also, format!("{}{more}", noticed.summary()))
    }
}
