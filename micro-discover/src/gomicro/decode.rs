//! Reads go-micro's records, and what the replicas of a version say again only once.

use std::borrow::Cow;
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
use std::str::from_utf8;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
use super::named;
use super::{Call, dialled, in_a_path};
use crate::invalid::{Invalid, quoted};
use crate::labels::Labels;
use crate::merge::Replica;
use crate::record::{Endpoint, Method, Service, rules::check_endpoints};
use crate::text::Text;
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
use crate::{address::Address, record::rules::check_id, template::Template};

/// A record as it is on the wire. What is mostly the same as in the record before stays unread.
#[derive(Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Option<Text<'a>>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    endpoints: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) nodes: Option<Vec<Node<'a>>>,
    /// Ours, in milliseconds.
    #[cfg(any(feature = "mdns", feature = "nats"))]
    #[serde(default)]
    pub(super) ttl: Option<u64>,
    /// Ours.
    #[cfg(any(feature = "mdns", feature = "nats"))]
    #[serde(default)]
    pub(super) owner: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Node<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) address: Cow<'a, str>,
    /// Its own field up to v1.7; later part of the address.
    #[serde(default)]
    pub(super) port: Option<u32>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(default)]
    weight: Option<u32>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    priority: Option<u32>,
}

impl<'a> Record<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(json).map_err(|error| wrong(&error))
    }

    pub(super) fn version(&self) -> &str {
        self.version.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty()).unwrap_or("latest")
    }
}

fn wrong(error: &serde_json::Error) -> Invalid {
    Invalid::new(error.to_string()).at("record")
}

fn text(json: Option<&RawValue>) -> &str {
    json.map_or("null", RawValue::get)
}

/// Reads one record after the other.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    #[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
    last: Option<Last>,
    head: Option<Head>,
    labels: Option<(Box<str>, Labels)>,
}

/// What was read last of a version, and the text it was read from.
#[derive(Debug)]
struct Head {
    metadata: Box<str>,
    methods: Box<str>,
    service: Arc<Service>,
}

/// The record that was read last, of one endpoint, with holes for its id and its address.
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
#[derive(Debug)]
struct Last {
    template: Template<2>,
    port: u32,
    /// Whether its address is all that it says of where it is.
    whole: bool,
    like: Arc<Replica>,
}

/// What a record says.
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
pub(crate) enum Heard<'a> {
    /// What another of one endpoint said, but for this endpoint's id and address.
    Like { like: Arc<Replica>, id: &'a str, address: Address },
    /// Something else.
    Else(Replica),
}

#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
impl From<Heard<'_>> for Replica {
    fn from(heard: Heard<'_>) -> Self {
        match heard {
            Heard::Like { like, id, address } => like.with(id, address),
            Heard::Else(replica) => replica,
        }
    }
}

#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
impl Last {
    fn of(json: &[u8], record: &Record<'_>) -> Option<(Template<2>, u32)> {
        let [node] = record.nodes.as_deref()? else { return None };
        let template = Template::new(from_utf8(json).ok()?, [Some(&node.id), Some(&node.address)]);
        Some((template?, node.port.unwrap_or(0)))
    }

    /// What a record says that is the same but for its id and its address. None when it is not, or breaks a rule.
    fn again<'a>(&self, json: &'a [u8]) -> Option<Heard<'a>> {
        let ([Some(id), Some(address)], "") = self.template.fill(from_utf8(json).ok()?)? else { return None };
        let [Endpoint { metadata, .. }] = &*self.like.endpoints else { return None };
        let address = if self.whole { address.parse() } else { dialled(address, self.port, metadata) };
        check_id(id).ok()?;
        Some(Heard::Like { like: self.like.clone(), id, address: address.ok()? })
    }
}

impl Reader {
    /// Reads a record of any era. A node that has no address we could dial is left out.
    ///
    /// # Errors
    ///
    /// When it is no record, or breaks a rule of ours.
    #[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
    pub(crate) fn read(&mut self, json: &[u8]) -> Result<Replica, Invalid> {
        self.hear(json).map(Replica::from)
    }

    /// Reads what [`read`](Self::read) does, and puts no endpoint together that is like the one before.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
    pub(crate) fn hear<'a>(&mut self, json: &'a [u8]) -> Result<Heard<'a>, Invalid> {
        if let Some(heard) = self.last.as_ref().and_then(|last| last.again(json)) {
            return Ok(heard);
        }
        let record = Record::parse(json)?;
        let template = Last::of(json, &record);
        let replica = self.replica(record)?;
        self.last = template.map(|(template, port)| {
            let mut labels = replica.endpoints.iter().map(|endpoint| &endpoint.metadata);
            let whole = port == 0 && labels.all(|labels| named(labels).is_none());
            Last { template, port, whole, like: Arc::new(replica.clone()) }
        });
        Ok(Heard::Else(replica))
    }

    pub(super) fn replica(&mut self, record: Record<'_>) -> Result<Replica, Invalid> {
        let head = self.head(&record)?;
        let nodes = record.nodes.unwrap_or_default();
        let several = nodes.len() > 1;
        let mut endpoints = Vec::with_capacity(nodes.len());
        for node in nodes {
            match self.endpoint(node) {
                Err(_) if several => {}
                endpoint => endpoints.push(endpoint?),
            }
        }
        check_endpoints(&head.name, &endpoints)?;
        Ok(Replica { head, endpoints })
    }

    fn head(&mut self, record: &Record<'_>) -> Result<Arc<Service>, Invalid> {
        let (metadata, methods) = (text(record.metadata), text(record.endpoints));
        if let Some(known) = &self.head
            && (&*known.metadata, &*known.methods) == (metadata, methods)
            && (&*known.service.name, &*known.service.version) == (&*record.name, record.version())
        {
            return Ok(known.service.clone());
        }
        let mut service = Service::new(record.name.as_ref()).version(record.version());
        service.metadata = self.labels(record.metadata)?;
        let calls: Option<Vec<Call>> = serde_json::from_str(methods).map_err(|error| wrong(&error))?;
        service.methods = calls.unwrap_or_default().into_iter().map(Method::from).collect();
        service.validate()?;
        let service = Arc::new(service);
        let (metadata, methods) = (metadata.into(), methods.into());
        self.head = Some(Head { metadata, methods, service: service.clone() });
        Ok(service)
    }

    fn endpoint(&mut self, node: Node<'_>) -> Result<Endpoint, Invalid> {
        let metadata = self.labels(node.metadata)?;
        let address = dialled(&node.address, node.port.unwrap_or(0), &metadata)
            .map_err(|error| error.at(format_args!("node {}", quoted(&node.id))))?;
        let mut endpoint = Endpoint::new(in_a_path(&node.id), address)
            .weight(node.weight.unwrap_or(1))
            .priority(node.priority.unwrap_or(0));
        endpoint.zone = node.zone;
        endpoint.metadata = metadata;
        Ok(endpoint)
    }

    fn labels(&mut self, json: Option<&RawValue>) -> Result<Labels, Invalid> {
        let Some(json) = json.map(RawValue::get) else { return Ok(Labels::new()) };
        match &self.labels {
            Some((text, labels)) if **text == *json => Ok(labels.clone()),
            _ => {
                let labels: Option<Labels> = serde_json::from_str(json).map_err(|error| wrong(&error))?;
                let labels = labels.unwrap_or_default();
                self.labels = Some((json.into(), labels.clone()));
                Ok(labels)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: &str, label: &str, method: &str, id: &str) -> String {
        format!(
            r#"{{"name":"greeter","version":"{version}","metadata":null,"endpoints":[{{"name":"{method}"}}],
            "nodes":[{{"id":"{id}","address":"10.0.0.7:80","metadata":{{"tier":"{label}"}}}}]}}"#
        )
    }

    #[test]
    fn replicas_share_what_they_say_alike_and_nothing_else() {
        let mut reader = Reader::default();
        let mut read =
            |version, label, method, id| reader.read(record(version, label, method, id).as_bytes()).unwrap();
        let (first, second) = (read("1", "gold", "Hello", "a"), read("1", "gold", "Hello", "b"));
        assert!(Arc::ptr_eq(&first.head, &second.head));
        assert_eq!(second.endpoints[0].id, "b");
        let third = read("2", "tin", "Hello", "c");
        assert_eq!((third.head.version.as_str(), third.endpoints[0].metadata["tier"].as_str()), ("2", "tin"));
        let fourth = read("2", "tin", "Bye", "d");
        assert_eq!(fourth.head.methods[0].name, "Bye");
        assert_eq!(fourth.head.methods.len(), 1);
    }

    #[test]
    fn a_slash_in_an_id_is_a_dash_as_it_is_in_the_key() {
        let mut reader = Reader::default();
        for id in ["a", "a/b", "c/d/e"] {
            let read = reader.read(record("1", "gold", "Hello", id).as_bytes()).unwrap();
            assert_eq!(read.endpoints[0].id, id.replace('/', "-"));
        }
    }

    #[test]
    fn a_bad_record_between_good_ones_changes_nothing_for_them() {
        let mut reader = Reader::default();
        let good = record("1", "gold", "Hello", "a");
        let first = reader.read(good.as_bytes()).unwrap();
        for bad in
            [record("1", "gold", "", "b"), record("1", "gold", "Hello", ".."), good.replace("gold\"", "")]
        {
            assert!(reader.read(bad.as_bytes()).is_err(), "{bad}");
            assert_eq!(reader.read(good.as_bytes()).unwrap(), first);
        }
    }
}
