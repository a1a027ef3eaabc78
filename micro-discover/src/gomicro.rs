//! go-micro's record in JSON: what its registries keep, read from v0 to v6 and written so that all of them read it.
//!
//! Weight, zone and priority, of which go-micro knows nothing, are further fields of a node: Go ignores them.
//! An address is written `host:port`, which every era dials; an inbox or a queue keeps its bare name while the
//! node's `transport` label says what it is.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::invalid::Invalid;
use crate::labels::Labels;
use crate::record::{Endpoint, EndpointId, Method, Service, Shape};
#[cfg(feature = "nats")]
use crate::said::Gone;
#[cfg(any(feature = "mdns", feature = "nats"))]
use crate::said::Said;

mod decode;

#[cfg(feature = "etcd")]
pub(crate) use self::decode::Heard;
pub(crate) use self::decode::Reader;

/// A record as it is written.
#[derive(Serialize)]
struct Record {
    name: String,
    version: String,
    metadata: Labels,
    endpoints: Vec<Call>,
    nodes: Vec<Node>,
    /// Ours, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    /// Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
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

#[derive(Serialize)]
struct Node {
    id: String,
    address: String,
    /// Its own field up to v1.7; later part of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u32>,
    metadata: Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
    for (node, endpoint) in record.nodes.iter_mut().zip(&service.endpoints) {
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

/// An id as it may stand in a path. go-micro writes its keys so, and others have no such rule.
pub(crate) fn in_a_path(id: &str) -> EndpointId {
    id.replace('/', "-")
}

/// Reads one record, as a [`Reader`] does.
///
/// # Errors
///
/// As for [`Reader::read`].
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
pub(crate) fn decode(json: &[u8]) -> Result<Service, Invalid> {
    Reader::default().read(json).map(Service::from)
}

/// Reads a record of any era, and what we add.
///
/// # Errors
///
/// As for [`Reader::read`].
#[cfg(any(feature = "mdns", feature = "nats"))]
pub(crate) fn decode_said(json: &[u8]) -> Result<Said, Invalid> {
    let mut record = decode::Record::parse(json)?;
    let (ttl, owner) = (record.ttl.map(std::time::Duration::from_millis), record.owner.take());
    let service = Reader::default().replica(record)?.into();
    Ok(Said { service, ttl, owner })
}

/// Reads which nodes are said to be gone. go-micro then leaves out the labels, without which an inbox is no address.
#[cfg(feature = "nats")]
pub(crate) fn decode_gone(json: &[u8]) -> Result<Gone, Invalid> {
    let record = decode::Record::parse(json)?;
    let (name, version) = (record.name.to_string(), record.version().to_owned());
    let place = |node: decode::Node<'_>| match node.port.unwrap_or(0) {
        0 => (in_a_path(&node.id), node.address.into()),
        port => (in_a_path(&node.id), format!("{}:{port}", node.address)),
    };
    let nodes = record.nodes.unwrap_or_default().into_iter().map(place).collect();
    Ok(Gone { name, version, nodes, owner: record.owner })
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
    match (port, named(metadata)) {
        (1.., _) if address.contains(':') && !address.starts_with('[') => {
            format!("[{address}]:{port}").parse()
        }
        (1.., _) => format!("{address}:{port}").parse(),
        (0, Some(scheme)) if !address.contains("://") => format!("{scheme}://{address}").parse(),
        (0, _) => address.parse(),
    }
}

/// The transport of a node, where that is the scheme its address lacks.
pub(crate) fn named(metadata: &Labels) -> Option<&str> {
    metadata.get("transport").map(String::as_str).filter(|word| matches!(*word, "nats" | "rabbitmq"))
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
            version: service.version.clone(),
            metadata: service.metadata.clone(),
            endpoints: service.methods.iter().map(Call::from).collect(),
            nodes: service.endpoints.iter().map(Node::from).collect(),
            ttl: None,
            owner: None,
        }
    }
}

impl From<&Endpoint> for Node {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id.clone(),
            address: written(endpoint),
            port: None,
            metadata: endpoint.metadata.clone(),
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
