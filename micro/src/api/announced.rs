//! Requests that methods want by their labels, as go-micro's services announce them: `path`, `method`, `host` and `handler`.

use std::str::FromStr;
use std::sync::Arc;

use http::Method;
use regex::{Regex, RegexBuilder};

use super::handler::Handler;
use crate::proxy::Upstream;

/// How large a pattern may become, in bytes: who registers a service is not to cost the gateway more.
const MOST_BYTES: usize = 64 << 10;
/// How many methods are looked at.
const MOST: usize = 4096;

/// What all methods want. Of two that want the same, the first by service and name counts.
#[derive(Debug, Default)]
pub(super) struct Announced {
    said: Vec<Said>,
    ways: Vec<Way>,
}

/// The labels of a method, in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    service: Arc<str>,
    method: String,
    paths: String,
    methods: String,
    hosts: String,
    handler: String,
}

/// A method, and the requests that are for it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) service: Arc<str>,
    pub(super) method: String,
    /// What is said of the way to it.
    pub(super) handler: Option<Handler>,
    methods: Vec<Method>,
    hosts: Vec<String>,
    paths: Vec<Regex>,
}

impl Announced {
    /// What the methods of `upstreams` say, if that is something else.
    pub(super) fn changed(&self, upstreams: &[Arc<Upstream>]) -> Option<Self> {
        let mut said: Vec<_> = upstreams.iter().flat_map(|upstream| said(upstream)).collect();
        said.sort();
        said.dedup();
        said.truncate(MOST);
        (said != self.said).then(|| Self::of(said))
    }

    fn of(said: Vec<Said>) -> Self {
        let way = |said: &Said| match Way::new(said) {
            Ok(way) => Some(way),
            Err(why) => {
                let Said { service, method, .. } = said;
                tracing::warn!(%service, method, why, "what a method announces was left out");
                None
            }
        };
        let ways = said.iter().filter_map(way).collect();
        Self { said, ways }
    }

    /// Whether no method says anything.
    pub(super) fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// The method that a request of `method` for `path` at `host` is for, of the services that `may` answer it.
    pub(super) fn find(
        &self,
        method: &Method,
        host: &str,
        path: &str,
        may: impl Fn(&str) -> bool,
    ) -> Option<&Way> {
        self.ways.iter().find(|way| may(&way.service) && way.matches(method, host, path))
    }
}

/// Those of a service's methods that say a path.
fn said(upstream: &Upstream) -> Vec<Said> {
    let facts = upstream.facts();
    let methods = facts.records.iter().flat_map(|record| &record.methods);
    let said = methods.filter_map(|method| {
        let label = |key: &str| method.metadata.get(key).cloned().unwrap_or_default();
        let (paths, name) = (label("path"), label("endpoint"));
        (!paths.is_empty()).then(|| Said {
            service: upstream.name().clone(),
            method: if name.is_empty() { method.name.clone() } else { name },
            paths,
            methods: label("method"),
            hosts: label("host"),
            handler: label("handler"),
        })
    });
    said.collect()
}

impl Way {
    fn new(said: &Said) -> Result<Self, String> {
        let handler = match said.handler.as_str() {
            "" => None,
            handler => Some(handler.parse().map_err(|error: <Handler as FromStr>::Err| error.to_string())?),
        };
        let methods = words(&said.methods).map(|word| {
            Method::from_bytes(word.to_ascii_uppercase().as_bytes())
                .map_err(|_| format!("{word:?} is no method"))
        });
        let paths = words(&said.paths).map(|pattern| {
            let built = RegexBuilder::new(pattern).size_limit(MOST_BYTES).dfa_size_limit(MOST_BYTES).build();
            built.map_err(|error| format!("{pattern:?} is no pattern of paths: {error}"))
        });
        Ok(Self {
            service: said.service.clone(),
            method: said.method.clone(),
            handler: handler.filter(|handler| *handler != Handler::Meta),
            methods: methods.collect::<Result<_, _>>()?,
            hosts: words(&said.hosts).map(str::to_owned).collect(),
            paths: paths.collect::<Result<_, _>>()?,
        })
    }

    fn matches(&self, method: &Method, host: &str, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && (self.hosts.is_empty() || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))
            && self.paths.iter().any(|pattern| pattern.is_match(path))
    }
}

/// What stands between commas.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(paths: &str, methods: &str, hosts: &str, handler: &str) -> Said {
        Said {
            service: "greeter".into(),
            method: "Greeter.Hello".to_owned(),
            paths: paths.to_owned(),
            methods: methods.to_owned(),
            hosts: hosts.to_owned(),
            handler: handler.to_owned(),
        }
    }

    #[test]
    fn a_request_is_matched_by_method_host_and_a_pattern_of_its_path() {
        let announced = Announced::of(vec![said("^/hello/[a-z]+$,/hi", "GET, POST", "shop.example", "rpc")]);
        for (method, host, path, is) in [
            (Method::GET, "shop.example", "/hello/john", true),
            (Method::POST, "SHOP.example", "/well/hi/there", true),
            (Method::GET, "shop.example", "/hello/7", false),
            (Method::PUT, "shop.example", "/hello/john", false),
            (Method::GET, "other.example", "/hello/john", false),
        ] {
            let found = announced.find(&method, host, path, |_| true);
            assert_eq!(
                found.map(|way| (way.method.as_str(), way.handler)),
                is.then_some(("Greeter.Hello", Some(Handler::Rpc))),
                "{method} {host} {path}"
            );
        }
    }

    #[test]
    fn what_cannot_be_is_left_out_and_the_rest_counts() {
        let bad = [
            said("(", "", "", ""),
            said("/a", "G ET", "", ""),
            said("/a", "", "", "grcp"),
            said("(a{1000}){1000}", "", "", ""),
        ];
        let announced = Announced::of([&bad[..], &[said("/a", "", "", "")]].concat());
        assert_eq!(announced.ways.len(), 1);
        assert!(announced.find(&Method::DELETE, "", "/a", |service| service == "greeter").is_some());
        assert!(announced.find(&Method::DELETE, "", "/a", |service| service == "other").is_none());
    }
}
