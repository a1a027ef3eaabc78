//! The error of settings that cannot work.

/// A setting that cannot work; says which, and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {given}, but must be {allowed}")]
pub struct InvalidSetting {
    setting: &'static str,
    given: String,
    allowed: &'static str,
}

impl InvalidSetting {
    pub(crate) fn new(setting: &'static str, given: impl std::fmt::Debug, allowed: &'static str) -> Self {
        Self { setting, given: format!("{given:?}"), allowed }
    }
}
