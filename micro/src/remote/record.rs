//! Records as go-micro writes them in JSON.

use micro_discover::{Address, Endpoint, Labels, Method, Service, Shape};
use serde::{Deserialize, Serialize};
use tower::BoxError;

/// Reads ours, or where there are nodes go-micro's. What is wrong is told with the way to it, as `endpoints[0].weight`.
pub(crate) fn read(value: serde_json::Value) -> Result<Service, BoxError> {
    if value.get("nodes").is_none() {
        return Ok(serde_path_to_error::deserialize(value)?);
    }
    let theirs: Theirs = serde_path_to_error::deserialize(value)?;
    let mut service = Service::new(theirs.name);
    if let Some(version) = theirs.version.filter(|version| !version.is_empty()) {
        service = service.version(version);
    }
    service.metadata = theirs.metadata.unwrap_or_default();
    for each in theirs.endpoints.unwrap_or_default() {
        let mut method = Method::new(each.name);
        method.request = each.request.map(Value::shape);
        method.response = each.response.map(Value::shape);
        method.metadata = each.metadata.unwrap_or_default();
        service = service.method(method);
    }
    for node in theirs.nodes.unwrap_or_default() {
        service = service.endpoint(node.endpoint()?);
    }
    Ok(service)
}

/// As go-micro from v1.8 on reads it: the port is part of the address.
pub(crate) fn write(service: &Service) -> serde_json::Value {
    let node = |e: &Endpoint| Node {
        id: e.id.clone(),
        address: e.address.to_string(),
        port: 0,
        metadata: Some(e.metadata.clone()),
        weight: Some(e.weight).filter(|weight| *weight != 1),
        zone: e.zone.clone(),
        priority: Some(e.priority).filter(|priority| *priority != 0),
    };
    let endpoint = |m: &Method| TheirMethod {
        name: m.name.clone(),
        request: m.request.as_ref().map(Value::of),
        response: m.response.as_ref().map(Value::of),
        metadata: Some(m.metadata.clone()),
    };
    let theirs = Theirs {
        name: service.name.clone(),
        version: Some(service.version.clone()),
        metadata: Some(service.metadata.clone()),
        endpoints: Some(service.methods.iter().map(endpoint).collect()),
        nodes: Some(service.endpoints.iter().map(node).collect()),
    };
    serde_json::to_value(theirs).unwrap_or_default()
}

/// A record as go-micro writes it, in which everything may be null.
#[derive(Serialize, Deserialize)]
struct Theirs {
    name: String,
    version: Option<String>,
    metadata: Option<Labels>,
    endpoints: Option<Vec<TheirMethod>>,
    nodes: Option<Vec<Node>>,
}

#[derive(Serialize, Deserialize)]
struct TheirMethod {
    name: String,
    #[serde(default)]
    request: Option<Value>,
    #[serde(default)]
    response: Option<Value>,
    metadata: Option<Labels>,
}

#[derive(Serialize, Deserialize)]
struct Value {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    values: Option<Vec<Value>>,
}

#[derive(Serialize, Deserialize)]
struct Node {
    id: String,
    address: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    port: u16,
    metadata: Option<Labels>,
    // What go-micro knows nothing of, which a sidecar of ours says and reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

impl Node {
    fn endpoint(self) -> Result<Endpoint, BoxError> {
        let Self { id, address, port, .. } = self;
        let written = match port {
            0 => address,
            port if address.contains(':') && !address.starts_with('[') => format!("[{address}]:{port}"),
            port => format!("{address}:{port}"),
        };
        let address: Address = written.parse().map_err(|error| format!("node {id:?}: {error}"))?;
        let mut endpoint = Endpoint::new(id, address)
            .weight(self.weight.unwrap_or(1))
            .priority(self.priority.unwrap_or_default());
        endpoint.zone = self.zone;
        endpoint.metadata = self.metadata.unwrap_or_default();
        Ok(endpoint)
    }
}

impl Value {
    fn shape(self) -> Shape {
        let mut shape = Shape::new(self.name, self.kind);
        shape.values = self.values.unwrap_or_default().into_iter().map(Self::shape).collect();
        shape
    }

    fn of(shape: &Shape) -> Self {
        let values = shape.values.iter().map(Self::of).collect();
        Self { name: shape.name.clone(), kind: shape.kind.clone(), values: Some(values) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_go_micro_is_understood_with_its_port_wherever_it_is_and_written_back() {
        for node in [r#""address":"127.0.0.1","port":46243"#, r#""address":"127.0.0.1:46243""#] {
            let text = format!(
                r#"{{"name":"greeter","version":"1.0.0","metadata":null,
                    "endpoints":[{{"name":"Greeter.Hello","response":null,"metadata":{{"stream":"true"}},
                      "request":{{"name":"Req","type":"Req","values":[{{"name":"name","type":"string","values":null}}]}}}}],
                    "nodes":[{{"id":"greeter-1",{node},"metadata":{{"protocol":"mucp"}}}}]}}"#
            );
            let service = read(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(
                (service.version.as_str(), service.methods[0].name.as_str()),
                ("1.0.0", "Greeter.Hello")
            );
            assert_eq!(service.methods[0].request.as_ref().unwrap().values[0].kind, "string");
            assert_eq!(service.endpoints[0].address.to_string(), "127.0.0.1:46243");
            assert_eq!(service.endpoints[0].metadata["protocol"], "mucp");
            assert_eq!(read(write(&service)).unwrap(), service);
        }
    }
}
