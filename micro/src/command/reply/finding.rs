//! What was found out about a machine.

use serde::Serialize;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at: `setting`, `file`, `registry`, `clock`, `broker`, `dns`, `endpoint`, `health`, `reflection`
    /// or `tls`.
    pub check: &'static str,
    /// Which of them.
    pub about: String,
    /// How it is.
    pub outcome: Outcome,
    /// How long it took to find out, in milliseconds.
    pub took_ms: Option<f64>,
    /// What was found, in words.
    pub said: String,
    /// What to try, where something is wrong.
    #[serde(rename = "try")]
    pub hint: Option<String>,
}

/// How something is that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Failed,
    /// It was not looked at: something before it failed, or there are too many.
    Skipped,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, about: impl Into<String>, said: impl Into<String>) -> Self {
        Self {
            check,
            about: about.into(),
            outcome: Outcome::Ok,
            took_ms: None,
            said: said.into(),
            hint: None,
        }
    }

    pub(crate) fn failed(
        check: &'static str,
        about: impl Into<String>,
        said: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { outcome: Outcome::Failed, hint: Some(hint.into()), ..Self::ok(check, about, said) }
    }

    pub(crate) fn warning(
        check: &'static str,
        about: impl Into<String>,
        said: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { outcome: Outcome::Warning, ..Self::failed(check, about, said, hint) }
    }

    pub(crate) fn skipped(check: &'static str, about: impl Into<String>, said: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::ok(check, about, said) }
    }

    pub(crate) fn took(mut self, millis: f64) -> Self {
        self.took_ms = Some(millis);
        self
    }
}
