//! Which of a service's endpoints a client wants: by version, method, label, zone, or its own rule.

use std::fmt;
use std::sync::Arc;

use crate::record::{Endpoint, Service};

/// A choice of endpoints; everything it names must hold.
///
/// Applies to whole sets, so an endpoint that no longer fits is removed like one that is gone.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Filter {
    rules: Vec<Rule>,
}

#[derive(Clone)]
enum Rule {
    Version(String),
    Method(String),
    Label(String, String),
    Zone(String),
    Own(Arc<OwnRule>),
}

type OwnRule = dyn Fn(&Service, &Endpoint) -> bool + Send + Sync;

impl Filter {
    /// Lets everything through.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the version `pattern`, or with a final `*` those below it: `1.*` is `1`, `1.4` and `1.4.2`, not
    /// `10`; `*` is any.
    pub fn version(self, pattern: impl Into<String>) -> Self {
        self.rule(Rule::Version(pattern.into()))
    }

    /// Only versions that have the method `name`.
    pub fn method(self, name: impl Into<String>) -> Self {
        self.rule(Rule::Method(name.into()))
    }

    /// Only endpoints with the label `key` = `value`: their own, or else their version's.
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.rule(Rule::Label(key.into(), value.into()))
    }

    /// Only endpoints in the zone `name`.
    pub fn zone(self, name: impl Into<String>) -> Self {
        self.rule(Rule::Zone(name.into()))
    }

    /// Only endpoints for which `rule` is true.
    pub fn matching(self, rule: impl Fn(&Service, &Endpoint) -> bool + Send + Sync + 'static) -> Self {
        self.rule(Rule::Own(Arc::new(rule)))
    }

    fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// What remains of `set`; versions without an endpoint do not.
    pub fn apply(&self, mut set: Vec<Service>) -> Vec<Service> {
        set.retain_mut(|service| {
            let mut endpoints = std::mem::take(&mut service.endpoints);
            endpoints.retain(|endpoint| self.rules.iter().all(|rule| rule.holds(service, endpoint)));
            service.endpoints = endpoints;
            !service.endpoints.is_empty()
        });
        set
    }
}

impl Rule {
    fn holds(&self, service: &Service, endpoint: &Endpoint) -> bool {
        match self {
            Self::Version(pattern) => fits(&service.version, pattern),
            Self::Method(name) => service.methods.iter().any(|method| method.name == *name),
            Self::Label(key, value) => {
                endpoint.metadata.get(key).or_else(|| service.metadata.get(key)) == Some(value)
            }
            Self::Zone(name) => endpoint.zone.as_ref() == Some(name),
            Self::Own(rule) => rule(service, endpoint),
        }
    }
}

fn fits(version: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        None => version == pattern,
        Some(prefix) => version.starts_with(prefix) || prefix.strip_suffix('.') == Some(version),
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(pattern) => write!(f, "version {pattern}"),
            Self::Method(name) => write!(f, "method {name}"),
            Self::Label(key, value) => write!(f, "label {key}={value}"),
            Self::Zone(name) => write!(f, "zone {name}"),
            Self::Own(_) => f.write_str("own rule"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Method;

    fn set() -> Vec<Service> {
        let endpoint = |id: &str| Endpoint::new(id, "h:1".parse().unwrap());
        let old = Service::new("greeter").version("1.4.2").metadata("tier", "gold");
        let new = Service::new("greeter").version("10.0").method(Method::new("Hello"));
        vec![
            old.endpoint(endpoint("a").zone("eu")).endpoint(endpoint("b").metadata("tier", "tin")),
            new.endpoint(endpoint("c").zone("us")),
        ]
    }

    fn kept(filter: &Filter) -> String {
        filter.apply(set()).into_iter().flat_map(|s| s.endpoints).map(|e| e.id).collect()
    }

    #[test]
    fn each_rule_keeps_what_it_names() {
        assert_eq!(kept(&Filter::new()), "abc");
        assert_eq!(kept(&Filter::new().version("1.4.2")), "ab");
        assert_eq!(kept(&Filter::new().version("1.*")), "ab");
        assert_eq!(kept(&Filter::new().version("10.0.*")), "c");
        assert_eq!(kept(&Filter::new().version("*")), "abc");
        assert_eq!(kept(&Filter::new().version("1")), "");
        assert_eq!(kept(&Filter::new().method("Hello")), "c");
        assert_eq!(kept(&Filter::new().label("tier", "gold")), "a");
        assert_eq!(kept(&Filter::new().zone("us")), "c");
        assert_eq!(
            kept(&Filter::new().matching(|service, e| service.version == "1.4.2" && e.id == "b")),
            "b"
        );
    }

    #[test]
    fn rules_add_up_and_a_version_without_endpoints_is_left_out() {
        let both = Filter::new().version("1.*").zone("eu");
        assert_eq!(kept(&both), "a");
        assert_eq!(both.apply(set()).len(), 1);
    }
}
