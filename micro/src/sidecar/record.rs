//! Records as clients of go-micro's sidecar write and read them: nodes with address and port apart, keys in any case.

use micro_discover::{Endpoint, Method, Service, Shape};
use serde_json::{Map, Value, json};

use crate::remote;

/// Writes a record.
pub(super) fn write(service: &Service) -> Value {
    let nodes: Vec<_> = service.endpoints.iter().map(node).collect();
    let methods: Vec<_> = service.methods.iter().map(method).collect();
    json!({
        "name": service.name,
        "version": service.version,
        "metadata": service.metadata,
        "endpoints": methods,
        "nodes": nodes,
    })
}

fn node(endpoint: &Endpoint) -> Value {
    let (address, port) = match (endpoint.address.host(), endpoint.address.port()) {
        (Some(host), Some(port)) => (host.to_owned(), port),
        _ => (endpoint.address.to_string(), 0),
    };
    let mut node = json!({
        "id": endpoint.id,
        "address": address,
        "port": port,
        "metadata": endpoint.metadata,
    });
    // What go-micro knows nothing of is said where it is not as usual.
    if endpoint.weight != 1 {
        node["weight"] = endpoint.weight.into();
    }
    if let Some(zone) = &endpoint.zone {
        node["zone"] = zone.as_str().into();
    }
    if endpoint.priority != 0 {
        node["priority"] = endpoint.priority.into();
    }
    node
}

fn method(method: &Method) -> Value {
    json!({
        "name": method.name,
        "request": method.request.as_ref().map(shape),
        "response": method.response.as_ref().map(shape),
        "metadata": method.metadata,
    })
}

fn shape(shape: &Shape) -> Value {
    let values: Vec<_> = shape.values.iter().map(self::shape).collect();
    json!({ "name": shape.name, "type": shape.kind, "values": values })
}

/// Reads a record: go-micro's, or ours as `micro get --output json` writes it.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn read(json: &[u8]) -> Result<Service, String> {
    let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let ours =
        value["endpoints"].as_array().is_some_and(|all| all.iter().any(|one| one.get("address").is_some()));
    let value = if ours { value } else { lower(value) };
    let service = remote::record::read(value).map_err(|error| error.to_string())?;
    if service.endpoints.is_empty() {
        return Err("the record has no node".to_owned());
    }
    service.validate().map_err(|error| error.to_string())?;
    Ok(service)
}

/// The name of a record and the ids of its nodes: all that is needed to withdraw it.
pub(super) fn read_ids(json: &[u8]) -> Result<(String, Vec<String>), String> {
    let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let value = lower(value);
    let name = text(&value, "name").ok_or("the record has no name")?;
    let listed = ["nodes", "endpoints"].into_iter().filter_map(|key| value[key].as_array()).flatten();
    let ids: Vec<_> = listed.filter_map(|node| text(node, "id")).collect();
    if ids.is_empty() { Err("the record names no node".to_owned()) } else { Ok((name, ids)) }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(str::to_owned)
}

/// The same with its keys in small letters, but for those of labels.
fn lower(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let each = fields.into_iter().map(|(key, value)| match key.to_ascii_lowercase() {
                key if key == "metadata" => (key, texts(value)),
                key => (key, lower(value)),
            });
            Value::Object(each.collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(lower).collect()),
        other => other,
    }
}

/// Labels, which are texts: what else stands there is none.
fn texts(value: Value) -> Value {
    match value {
        Value::Object(labels) => labels.into_iter().filter(|(_, label)| label.is_string()).collect(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_of_go_micro_write_is_read_and_comes_back() {
        let written = br#"{"Name":"foo.bar","Nodes":[{"Port":9091,"Address":"127.0.0.1","Id":"foo.bar-1","Metadata":{"A":"b"}}]}"#;
        let service = read(written).unwrap();
        assert_eq!(service.endpoints[0].address.to_string(), "127.0.0.1:9091");
        assert_eq!(service.endpoints[0].metadata["A"], "b");
        let json = write(&service);
        assert_eq!((&json["name"], &json["version"]), (&json!("foo.bar"), &json!("latest")));
        assert_eq!(
            json["nodes"][0],
            json!({"id":"foo.bar-1","address":"127.0.0.1","port":9091,"metadata":{"A":"b"}})
        );
        assert_eq!(read(json.to_string().as_bytes()).unwrap(), service);
        assert_eq!(read_ids(written).unwrap(), ("foo.bar".to_owned(), vec!["foo.bar-1".to_owned()]));
    }

    #[test]
    fn our_own_records_and_whole_addresses_are_read_too() {
        let ours =
            serde_json::to_vec(&read(br#"{"name":"a","nodes":[{"id":"1","address":"[::1]:80"}]}"#).unwrap());
        let service = read(&ours.unwrap()).unwrap();
        assert_eq!(service.endpoints[0].address.to_string(), "[::1]:80");
        assert_eq!(read(br#"{"name":"a","nodes":[{"id":"1","address":"::1","port":80}]}"#).unwrap(), service);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for junk in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"name":"a"}"#,
            r#"{"name":"a/b","nodes":[{"id":"1","address":"a:1"}]}"#,
        ] {
            assert!(read(junk.as_bytes()).is_err(), "{junk}");
        }
    }
}
