//! go-micro's record in JSON: what its registries keep, read from v0 to v6 and written so that all of them read it.
//!
//! Weight, zone and priority, of which go-micro knows nothing, are further fields of a node: Go ignores them.
//! An address is written `host:port`, which every era dials; an inbox or a queue keeps its bare name while the
//! node's `transport` label says what it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::invalid::{Invalid, quoted};
use crate::record::{Endpoint, Method, Service, Shape};
#[cfg(feature = "nats")]
use crate::said::Gone;
#[cfg(any(feature = "mdns", feature = "nats"))]
use crate::said::Said;

type Labels = BTreeMap<String, String>;

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    metadata: Option<Labels>,
    #[serde(default)]
    endpoints: Option<Vec<Call>>,
    #[serde(default)]
    nodes: Option<Vec<Node>>,
    /// Ours, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    /// Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

/// What go-micro calls an endpoint: our method.
#[derive(Serialize, Deserialize)]
pub(crate) struct Call {
    name: String,
    #[serde(default)]
    request: Option<Value>,
    #[serde(default)]
    response: Option<Value>,
    #[serde(default)]
    metadata: Option<Labels>,
}

#[derive(Serialize, Deserialize)]
struct Value {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    values: Option<Vec<Value>>,
}

#[derive(Serialize, Deserialize)]
struct Node {
    id: String,
    address: String,
    /// Its own field up to v1.7; later part of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u32>,
    #[serde(default)]
    metadata: Option<Labels>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
}

/// The record as JSON, the same bytes for the same record.
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
pub(crate) fn encode(service: &Service) -> Vec<u8> {
    json(&Record::from(service))
}

/// The record as go-micro wrote it up to v1.7: the port apart from the address.
#[cfg(feature = "etcd")]
pub(crate) fn encode_v0(service: &Service) -> Vec<u8> {
    let mut record = Record::from(service);
    let nodes = record.nodes.iter_mut().flatten();
    for (node, endpoint) in nodes.zip(&service.endpoints) {
        // What says its scheme would lose it.
        if let (Some(host), Some(port)) = (endpoint.address.host(), endpoint.address.port())
            && !node.address.contains("://")
        {
            (node.address, node.port) = (host.to_owned(), Some(u32::from(port)));
        }
    }
    json(&record)
}

/// The record as JSON, with what we add.
#[cfg(any(feature = "mdns", feature = "nats"))]
pub(crate) fn encode_said(said: &Said) -> Vec<u8> {
    let ttl = said.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    json(&Record { ttl, owner: said.owner.clone(), ..Record::from(&said.service) })
}

fn json(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("strings and numbers are always JSON")
}

/// Reads a record of any era. A node that has no address we could dial is left out.
///
/// # Errors
///
/// When it is no record, or breaks a rule of ours.
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
pub(crate) fn decode(json: &[u8]) -> Result<Service, Invalid> {
    service(read(json)?)
}

/// Reads a record of any era, and what we add.
///
/// # Errors
///
/// As for [`decode`].
#[cfg(any(feature = "mdns", feature = "nats"))]
pub(crate) fn decode_said(json: &[u8]) -> Result<Said, Invalid> {
    let mut record = read(json)?;
    let (ttl, owner) = (record.ttl.map(std::time::Duration::from_millis), record.owner.take());
    Ok(Said { service: service(record)?, ttl, owner })
}

/// Reads which nodes are said to be gone. go-micro then leaves out the labels, without which an inbox is no address.
#[cfg(feature = "nats")]
pub(crate) fn decode_gone(json: &[u8]) -> Result<Gone, Invalid> {
    let record = read(json)?;
    let version = record.version.filter(|version| !version.is_empty()).unwrap_or_else(|| "latest".to_owned());
    let place = |node: Node| match node.port.unwrap_or(0) {
        0 => (node.id, node.address),
        port => (node.id, format!("{}:{port}", node.address)),
    };
    let nodes = record.nodes.unwrap_or_default().into_iter().map(place).collect();
    Ok(Gone { name: record.name, version, nodes, owner: record.owner })
}

fn read(json: &[u8]) -> Result<Record, Invalid> {
    serde_json::from_slice(json).map_err(|error| Invalid::new(error.to_string()).at("record"))
}

fn service(record: Record) -> Result<Service, Invalid> {
    let version = record.version.filter(|version| !version.is_empty());
    let mut service = Service::new(record.name).version(version.unwrap_or_else(|| "latest".to_owned()));
    service.metadata = record.metadata.unwrap_or_default();
    service.methods = record.endpoints.unwrap_or_default().into_iter().map(Method::from).collect();
    let nodes = record.nodes.unwrap_or_default();
    let several = nodes.len() > 1;
    for node in nodes {
        match Endpoint::try_from(node) {
            Err(_) if several => {}
            endpoint => service.endpoints.push(endpoint?),
        }
    }
    service.validate()?;
    Ok(service)
}

/// A method in go-micro's JSON.
#[cfg(feature = "consul")]
pub(crate) fn encode_method(method: &Method) -> Vec<u8> {
    serde_json::to_vec(&Call::from(method)).expect("strings and numbers are always JSON")
}

/// Reads what [`encode_method`] writes, or go-micro.
#[cfg(feature = "consul")]
pub(crate) fn decode_method(json: &[u8]) -> Option<Method> {
    serde_json::from_slice::<Call>(json).ok().map(Method::from)
}

/// The address of a node, as go-micro writes it, with its port apart or not.
pub(crate) fn dialled(address: &str, port: u32, metadata: &Labels) -> Result<Address, Invalid> {
    let transport = metadata.get("transport").map(String::as_str);
    let text = match (port, transport) {
        (1.., _) if address.contains(':') && !address.starts_with('[') => format!("[{address}]:{port}"),
        (1.., _) => format!("{address}:{port}"),
        (0, Some(scheme @ ("nats" | "rabbitmq"))) if !address.contains("://") => {
            format!("{scheme}://{address}")
        }
        _ => address.to_owned(),
    };
    text.parse()
}

/// How a node's address is written so that every era of go-micro dials it.
pub(crate) fn written(endpoint: &Endpoint) -> String {
    let scheme = endpoint.address.scheme();
    let bare = matches!(scheme, "nats" | "rabbitmq")
        && endpoint.metadata.get("transport").is_some_and(|transport| transport == scheme);
    if bare { endpoint.address.authority().to_owned() } else { endpoint.address.to_string() }
}

impl From<&Service> for Record {
    fn from(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            version: Some(service.version.clone()),
            metadata: Some(service.metadata.clone()),
            endpoints: Some(service.methods.iter().map(Call::from).collect()),
            nodes: Some(service.endpoints.iter().map(Node::from).collect()),
            ttl: None,
            owner: None,
        }
    }
}

impl TryFrom<Node> for Endpoint {
    type Error = Invalid;

    fn try_from(node: Node) -> Result<Self, Invalid> {
        let metadata = node.metadata.unwrap_or_default();
        let address = dialled(&node.address, node.port.unwrap_or(0), &metadata)
            .map_err(|error| error.at(format_args!("node {}", quoted(&node.id))))?;
        let mut endpoint = Endpoint::new(node.id, address)
            .weight(node.weight.unwrap_or(1))
            .priority(node.priority.unwrap_or(0));
        endpoint.zone = node.zone;
        endpoint.metadata = metadata;
        Ok(endpoint)
    }
}

impl From<&Endpoint> for Node {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id.clone(),
            address: written(endpoint),
            port: None,
            metadata: Some(endpoint.metadata.clone()),
            weight: (endpoint.weight != 1).then_some(endpoint.weight),
            zone: endpoint.zone.clone(),
            priority: (endpoint.priority != 0).then_some(endpoint.priority),
        }
    }
}

impl From<&Method> for Call {
    fn from(method: &Method) -> Self {
        Self {
            name: method.name.clone(),
            request: method.request.as_ref().map(Value::from),
            response: method.response.as_ref().map(Value::from),
            metadata: Some(method.metadata.clone()),
        }
    }
}

impl From<Call> for Method {
    fn from(call: Call) -> Self {
        let mut method = Method::new(call.name);
        method.request = call.request.map(Shape::from);
        method.response = call.response.map(Shape::from);
        method.metadata = call.metadata.unwrap_or_default();
        method
    }
}

impl From<&Shape> for Value {
    fn from(shape: &Shape) -> Self {
        let values: Vec<_> = shape.values.iter().map(Value::from).collect();
        Self {
            name: shape.name.clone(),
            kind: shape.kind.clone(),
            values: (!values.is_empty()).then_some(values),
        }
    }
}

impl From<Value> for Shape {
    fn from(value: Value) -> Self {
        let mut shape = Shape::new(value.name, value.kind);
        shape.values = value.values.unwrap_or_default().into_iter().map(Shape::from).collect();
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from go-micro v1.0.0.
    const V1: &str = r#"{"name":"greeter","version":"1.0.0","metadata":null,"endpoints":[
        {"name":"Greeter.Hello","request":{"name":"Req","type":"Req","values":[{"name":"name","type":"string","values":null}]},
         "response":{"name":"Rsp","type":"Rsp","values":[{"name":"greeting","type":"string","values":null}]},
         "metadata":{"path":"/hello","stream":"false"}},
        {"name":"Func","request":{"name":"Req","type":"Req","values":null},"response":null,"metadata":{"subscriber":"true"}}],
        "nodes":[{"id":"greeter-ID1","address":"127.0.0.1","port":46243,"metadata":{"protocol":"mucp","transport":"http"}}]}"#;

    #[test]
    fn a_record_of_v1_is_read_and_ours_says_the_same_to_v6() {
        let record = decode(V1.as_bytes()).unwrap();
        assert_eq!(record.endpoints[0].address.to_string(), "127.0.0.1:46243");
        assert_eq!(record.methods[0].metadata["path"], "/hello");
        assert_eq!(record.methods[1].response, None);

        let json: serde_json::Value = serde_json::from_slice(&encode(&record)).unwrap();
        assert_eq!(json["nodes"][0]["address"], "127.0.0.1:46243");
        assert_eq!(json["endpoints"][0]["request"]["values"][0]["type"], "string");
        assert_eq!(decode(&encode(&record)).unwrap(), record);
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn ours_for_v0_is_what_v1_wrote_itself() {
        let record = decode(V1.as_bytes()).unwrap();
        let ours: serde_json::Value = serde_json::from_slice(&encode_v0(&record)).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(V1).unwrap();
        assert_eq!(ours["nodes"], theirs["nodes"]);
        let odd = [
            Endpoint::new("a", "https://[::1]:1".parse().unwrap()),
            Endpoint::new("b", "[::1]:2".parse().unwrap()),
        ];
        let record = odd.into_iter().fold(Service::new("greeter"), Service::endpoint);
        assert_eq!(decode(&encode_v0(&record)).unwrap(), record);
    }

    #[test]
    fn an_inbox_of_v6_keeps_its_bare_name_on_the_wire() {
        let json = r#"{"name":"greeter","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[
            {"metadata":{"transport":"nats"},"id":"greeter-ID1","address":"_INBOX.Jf3onzDglHMTWBsnPCv4oM"}]}"#;
        let record = decode(json.as_bytes()).unwrap();
        assert_eq!(record.endpoints[0].address.to_string(), "nats://_INBOX.Jf3onzDglHMTWBsnPCv4oM");
        let json: serde_json::Value = serde_json::from_slice(&encode(&record)).unwrap();
        assert_eq!(json["nodes"][0]["address"], "_INBOX.Jf3onzDglHMTWBsnPCv4oM");
    }

    #[test]
    fn what_is_no_record_is_refused_and_null_is_nothing() {
        for junk in ["", "null", "[]", "{}", "{\"name\":1}", "\u{0}", "{\"name\":\"a/b\",\"nodes\":null}"] {
            assert!(decode(junk.as_bytes()).is_err(), "{junk}");
        }
        let bare = r#"{"name":"greeter","version":"","metadata":null,"endpoints":null,"nodes":null,"x":1}"#;
        assert_eq!(decode(bare.as_bytes()).unwrap(), Service::new("greeter"));
        let six = dialled("::1", 80, &Labels::new()).unwrap();
        assert_eq!(six.to_string(), "[::1]:80");
    }
}
