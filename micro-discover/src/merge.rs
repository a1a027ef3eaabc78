//! Many announcements of one endpoint each, read as one record per service and version.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;

use crate::labels::Labels;
use crate::record::{Endpoint, Method, Service};

/// One record per endpoint: what registries keep.
pub(crate) fn split(service: &Service) -> impl Iterator<Item = Service> {
    service.endpoints.iter().map(|endpoint| {
        let Service { name, version, metadata, methods, .. } = service;
        let endpoints = vec![endpoint.clone()];
        Service {
            name: name.clone(),
            version: version.clone(),
            metadata: metadata.clone(),
            methods: methods.clone(),
            endpoints,
        }
    })
}

/// Endpoints, and the record of their version without any: replicas share it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replica {
    pub(crate) head: Arc<Service>,
    pub(crate) endpoints: Vec<Endpoint>,
}

impl From<Replica> for Service {
    fn from(Replica { head, endpoints }: Replica) -> Self {
        Self { endpoints, ..Arc::unwrap_or_clone(head) }
    }
}

/// What is to be merged.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    head: &'a Service,
    endpoints: &'a [Endpoint],
}

impl<'a> From<&'a Service> for Part<'a> {
    fn from(record: &'a Service) -> Self {
        Self { head: record, endpoints: &record.endpoints }
    }
}

impl<'a> From<&'a Replica> for Part<'a> {
    fn from(replica: &'a Replica) -> Self {
        Self { head: &replica.head, endpoints: &replica.endpoints }
    }
}

/// One record per service and version, in that order.
///
/// Endpoints keep the order they come in. Where replicas disagree about a label or a method the first one's
/// word stands, so the answer does not depend on who renewed last.
pub(crate) fn merge<'a, R: Into<Part<'a>>>(records: impl IntoIterator<Item = R>) -> Vec<Service> {
    let mut merged: BTreeMap<(&str, &str), (Service, Option<&Service>)> = BTreeMap::new();
    for record in records {
        let Part { head, endpoints } = record.into();
        let (whole, heard) = merged
            .entry((&head.name, &head.version))
            .or_insert_with(|| (Service::new(&head.name).version(&head.version), None));
        // Most replicas share it with the one before.
        if !heard.is_some_and(|heard| ptr::eq(heard, head)) {
            add_labels(&mut whole.metadata, &head.metadata);
            whole.methods.extend(unknown(&whole.methods, &head.methods));
            *heard = Some(head);
        }
        whole.endpoints.extend_from_slice(endpoints);
    }
    merged.into_values().map(|(whole, _)| whole).collect()
}

fn add_labels(known: &mut Labels, more: &Labels) {
    if known.is_empty() {
        *known = more.clone();
    }
    for (key, value) in more {
        if !known.contains_key(key) {
            known.insert(key.clone(), value.clone());
        }
    }
}

fn unknown(known: &[Method], more: &[Method]) -> Vec<Method> {
    more.iter().filter(|method| known.iter().all(|k| k.name != method.name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(version: &str, id: &str) -> Service {
        Service::new("greeter").version(version).endpoint(Endpoint::new(id, "h:1".parse().unwrap()))
    }

    #[test]
    fn replicas_of_a_version_become_one_record() {
        let first = replica("2", "b").metadata("owner", "us").method(Method::new("Hello"));
        let second = replica("2", "c").metadata("owner", "them").method(Method::new("Hello"));
        let other = replica("1", "a");
        let merged = merge([&first, &second, &other]);
        assert_eq!(merged.iter().map(|s| s.version.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(merged[1].endpoints.len(), 2);
        assert_eq!((merged[1].metadata["owner"].as_str(), merged[1].methods.len()), ("us", 1));
        assert_eq!(split(&merged[1]).count(), 2);
    }
}
