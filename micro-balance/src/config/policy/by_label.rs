//! Policies that choose by what endpoints are called, most of them for another that chooses among those.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    PolicyConfig,
    values::{cookie, named},
};
use crate::{
    policy::{Boxed, FirstAttempts, LabelOrder, LabelSubset, Otherwise, OverrideHost, Source},
    setting::InvalidSetting,
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    /// Pairs of key and value, the most preferred first.
    labels: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Labels {
    /// Sets of keys that requests may ask for.
    by: Vec<Vec<String>>,
    /// Such sets, and fewer of their keys to fall back to.
    by_or: Vec<(Vec<String>, Vec<String>)>,
    /// Such sets, and who takes requests for what nobody has of them.
    by_otherwise: Vec<(Vec<String>, Fallback)>,
    redundant: bool,
    otherwise: Fallback,
    policy: Box<PolicyConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fallback {
    #[default]
    Anybody,
    Nobody,
    Those(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Spared {
    /// Pairs of key and value.
    labels: Vec<(String, String)>,
    policy: Box<PolicyConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Host {
    /// Asked unless told otherwise where nothing else is.
    extension: Option<bool>,
    #[serde(deserialize_with = "named")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
    strict: bool,
    policy: Box<PolicyConfig>,
}

impl Order {
    pub(super) fn build(&self) -> LabelOrder {
        self.labels.iter().fold(LabelOrder::new(), |policy, (key, value)| policy.then(key, value))
    }
}

impl Labels {
    pub(super) fn build(&self) -> Result<LabelSubset<Boxed>, InvalidSetting> {
        let any = !(self.by.is_empty() && self.by_or.is_empty() && self.by_otherwise.is_empty());
        if !any && !matches!(self.otherwise, Fallback::Those(_)) {
            let keys = "at least one set of keys, in `by`, `by_or` or `by_otherwise`";
            return Err(InvalidSetting::new("what requests may ask for", "nothing", keys));
        }
        let policy = LabelSubset::new(self.policy.build()).otherwise(self.otherwise.build());
        let policy = if self.redundant { policy.redundant() } else { policy };
        let policy = self.by.iter().fold(policy, |policy, keys| policy.by(keys));
        let policy = self
            .by_otherwise
            .iter()
            .fold(policy, |policy, (keys, otherwise)| policy.by_otherwise(keys, otherwise.build()));
        self.by_or.iter().try_fold(policy, |policy, (keys, fewer)| policy.by_or(keys, fewer))
    }
}

impl Spared {
    pub(super) fn build(&self) -> Result<FirstAttempts<Boxed>, InvalidSetting> {
        let Some(((key, value), others)) = self.labels.split_first() else {
            let labels = "at least one pair, in `labels`";
            return Err(InvalidSetting::new("the labels of those that are spared", "none", labels));
        };
        let policy = FirstAttempts::new(self.policy.build(), key, value);
        Ok(others.iter().fold(policy, |policy, (key, value)| policy.and(key, value)))
    }
}

impl Fallback {
    fn build(&self) -> Otherwise {
        match self {
            Self::Anybody => Otherwise::Anybody,
            Self::Nobody => Otherwise::Nobody,
            Self::Those(labels) => Otherwise::Those(labels.clone()),
        }
    }
}

impl Host {
    pub(super) fn build(&self) -> Result<OverrideHost<Boxed>, InvalidSetting> {
        let mut policy = OverrideHost::new(self.policy.build());
        let others = self.header.is_some() || self.cookie.is_some();
        match self.extension {
            Some(false) if !others => {
                let sources = "one of `extension`, `header` and `cookie`";
                return Err(InvalidSetting::new("what names the endpoint", "nobody", sources));
            }
            Some(false) => {}
            None if others => {}
            _ => policy = policy.by(Source::Extension),
        }
        if let Some(name) = &self.header {
            policy = policy.by(Source::header(name)?);
        }
        if let Some(name) = &self.cookie {
            policy = policy.by(Source::cookie(name));
        }
        Ok(if self.strict { policy.strict() } else { policy })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::policy::PeakEwma;

    fn inner() -> Boxed {
        Boxed::new(PeakEwma::new())
    }

    #[test]
    fn who_names_endpoints_are_those_that_are_written() {
        let host = |said: Value| format!("{:?}", from_value::<Host>(said).unwrap().build().unwrap());
        let ours = || OverrideHost::new(inner());
        for (said, ours) in [
            (json!({}), ours().by(Source::Extension)),
            (json!({ "extension": true }), ours().by(Source::Extension)),
            (json!({ "header": "x-a" }), ours().by(Source::header("x-a").unwrap())),
            (json!({ "cookie": "a", "strict": true }), ours().by(Source::cookie("a")).strict()),
            (json!({ "extension": false, "cookie": "a" }), ours().by(Source::cookie("a"))),
            (json!({ "extension": true, "header": "x-a", "cookie": "a" }), {
                let both = ours().by(Source::Extension).by(Source::header("x-a").unwrap());
                both.by(Source::cookie("a"))
            }),
        ] {
            assert_eq!(host(said.clone()), format!("{ours:?}"), "{said}");
        }
        assert!(from_value::<Host>(json!({ "extension": false })).unwrap().build().is_err());
    }

    #[test]
    fn subsets_are_those_that_are_written() {
        let labels = |said: Value| format!("{:?}", from_value::<Labels>(said).unwrap().build().unwrap());
        let ours = || LabelSubset::new(inner());
        let said = json!({ "by": [["a"]], "redundant": true, "otherwise": "nobody" });
        let expected = ours().otherwise(Otherwise::Nobody).redundant().by(["a"]);
        assert_eq!(labels(said), format!("{expected:?}"));
        let said = json!({ "by_or": [[["a", "b"], ["a"]]], "by_otherwise": [[["c"], "nobody"]] });
        let expected = ours().by_otherwise(["c"], Otherwise::Nobody).by_or(["a", "b"], ["a"]).unwrap();
        assert_eq!(labels(said), format!("{expected:?}"));
    }
}
