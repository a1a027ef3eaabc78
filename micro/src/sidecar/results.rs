//! What changes between two sets of records, as go-micro's watchers say it: `{"Action":"create","Service":{…}}`.

use std::collections::{BTreeMap, BTreeSet};

use micro_discover::Service;
use serde_json::{Value, json};

use super::record;

/// The set that was told last, by name and version.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<(String, String), Service>);

impl Known {
    /// What makes of the set before this one: first each version that is new (`create`) or has changed (`update`), with
    /// all its nodes, and then the nodes that are gone (`delete`). So a client that replaces what it knows of a version
    /// is as right as go-micro's cache, which merges.
    pub(super) fn turn(&mut self, set: Vec<Service>) -> Vec<Value> {
        let set: BTreeMap<_, _> = set
            .into_iter()
            .filter(|service| !service.endpoints.is_empty())
            .map(|mut service| {
                service.endpoints.sort_by(|one, other| one.id.cmp(&other.id));
                ((service.name.clone(), service.version.clone()), service)
            })
            .collect();
        let mut results = Vec::new();
        for (key, service) in &set {
            match self.0.get(key) {
                None => results.push(result("create", service)),
                Some(known) if known != service => results.push(result("update", service)),
                Some(_) => {}
            }
        }
        for (key, mut known) in std::mem::replace(&mut self.0, set) {
            let now = self.0.get(&key).into_iter().flat_map(|service| &service.endpoints);
            let now: BTreeSet<_> = now.map(|endpoint| &endpoint.id).collect();
            known.endpoints.retain(|endpoint| !now.contains(&endpoint.id));
            if !known.endpoints.is_empty() {
                results.push(result("delete", &known));
            }
        }
        results
    }
}

fn result(action: &str, service: &Service) -> Value {
    json!({ "Action": action, "Service": record::write(service) })
}

#[cfg(test)]
mod tests {
    use micro_discover::Endpoint;

    use super::*;

    fn service(version: &str, ids: &[&str]) -> Service {
        let endpoints = ids.iter().map(|id| Endpoint::new(*id, "127.0.0.1:1".parse().unwrap()));
        endpoints.fold(Service::new("greeter").version(version), Service::endpoint)
    }

    fn said(results: &[Value]) -> Vec<String> {
        let nodes = |result: &Value| {
            let nodes = result["Service"]["nodes"].as_array().unwrap();
            nodes.iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
        };
        let said = |result: &Value| {
            let version = result["Service"]["version"].as_str().unwrap();
            format!("{} {version} {}", result["Action"].as_str().unwrap(), nodes(result))
        };
        results.iter().map(said).collect()
    }

    #[test]
    fn each_set_is_told_by_what_differs_from_the_one_before() {
        let mut known = Known::default();
        for (set, expected) in [
            (vec![], vec![]),
            (vec![service("1", &["b", "a"])], vec!["create 1 a,b"]),
            (vec![service("1", &["a", "b"])], vec![]),
            (vec![service("1", &["a", "c"])], vec!["update 1 a,c", "delete 1 b"]),
            (
                vec![service("1", &["a"]), service("2", &["c"])],
                vec!["update 1 a", "create 2 c", "delete 1 c"],
            ),
            (vec![service("1", &[]), service("2", &["c"])], vec!["delete 1 a"]),
            (vec![], vec!["delete 2 c"]),
        ] {
            assert_eq!(said(&known.turn(set)), expected);
        }
    }
}
