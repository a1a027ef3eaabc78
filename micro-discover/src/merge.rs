//! Many announcements of one endpoint each, read as one record per service and version.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;

#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
use crate::address::Address;
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

#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
impl Replica {
    /// Another of the same version, of one endpoint that says the same as the first one here.
    pub(crate) fn with(&self, id: &str, address: Address) -> Self {
        let endpoints = self.endpoints.first().map(|like| again(like, id, address)).into_iter().collect();
        Self { head: self.head.clone(), endpoints }
    }
}

/// An endpoint that says of itself what this one does.
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
pub(crate) fn again(like: &Endpoint, id: &str, address: Address) -> Endpoint {
    let mut endpoint = Endpoint::new(id, address).weight(like.weight).priority(like.priority);
    endpoint.zone.clone_from(&like.zone);
    endpoint.metadata.clone_from(&like.metadata);
    endpoint
}

/// One record per service and version, in that order.
///
/// Endpoints keep the order they come in. Where replicas disagree about a label or a method the first one's
/// word stands, so the answer does not depend on who renewed last.
pub(crate) fn merge<'a>(records: impl IntoIterator<Item = &'a Service>) -> Vec<Service> {
    let mut merged = Merged::default();
    for record in records {
        merged.endpoints(record).extend_from_slice(&record.endpoints);
    }
    merged.done()
}

/// What was [merged](merge) so far.
#[derive(Default)]
pub(crate) struct Merged<'a> {
    versions: Vec<Service>,
    /// Where each is.
    places: BTreeMap<(&'a str, &'a str), usize>,
    /// Who spoke last, and of which.
    last: Option<(&'a Service, usize)>,
}

impl<'a> Merged<'a> {
    /// Where to put the endpoints of a record, whose own are not looked at.
    pub(crate) fn endpoints(&mut self, head: &'a Service) -> &mut Vec<Endpoint> {
        let place = match self.last {
            // Most replicas share it with the one before.
            Some((last, place)) if ptr::eq(last, head) => place,
            _ => self.hear(head),
        };
        &mut self.versions[place].endpoints
    }

    fn hear(&mut self, head: &'a Service) -> usize {
        let place = *self.places.entry((&head.name, &head.version)).or_insert_with(|| {
            self.versions.push(Service::new(&head.name).version(&head.version));
            self.versions.len() - 1
        });
        let whole = &mut self.versions[place];
        add_labels(&mut whole.metadata, &head.metadata);
        whole.methods.extend(unknown(&whole.methods, &head.methods));
        self.last = Some((head, place));
        place
    }

    pub(crate) fn done(mut self) -> Vec<Service> {
        self.versions.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
        self.versions
    }
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
