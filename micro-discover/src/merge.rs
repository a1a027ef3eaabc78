//! Many announcements of one endpoint each, read as one record per service and version.

use std::collections::BTreeMap;

use crate::record::{Method, Service};

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

/// One record per service and version, in that order.
///
/// Endpoints keep the order they come in. Where replicas disagree about a label or a method the first one's
/// word stands, so the answer does not depend on who renewed last.
pub(crate) fn merge<'a>(records: impl IntoIterator<Item = &'a Service>) -> Vec<Service> {
    let mut merged: BTreeMap<(&str, &str), Service> = BTreeMap::new();
    for record in records {
        let whole = merged
            .entry((&record.name, &record.version))
            .or_insert_with(|| Service::new(&record.name).version(&record.version));
        for (key, value) in &record.metadata {
            whole.metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
        whole.methods.extend(unknown(&whole.methods, &record.methods));
        whole.endpoints.extend_from_slice(&record.endpoints);
    }
    merged.into_values().collect()
}

fn unknown(known: &[Method], more: &[Method]) -> Vec<Method> {
    more.iter().filter(|method| known.iter().all(|k| k.name != method.name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Endpoint;

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
