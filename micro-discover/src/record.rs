//! What is announced: a service, its methods, and the endpoints that answer for it.

pub(crate) mod rules;

use serde::{Deserialize, Serialize};

pub(crate) use self::rules::check_service_name;
use crate::address::Address;
use crate::labels::Labels;

/// The label that says how an endpoint is, and what it says where others go first.
const HEALTH: &str = "health";
const DEGRADED: &str = "degraded";

/// Names an endpoint within its service, across versions. Two endpoints of a service never share one.
pub type EndpointId = String;

/// One version of a service, with the endpoints that serve it.
///
/// Reading one (serde) checks its types; [`validate`](Self::validate) checks its rules. Registries validate what
/// they are given and what they find.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use]
pub struct Service {
    /// What callers ask for, such as `greeter`: 1 to 255 bytes without slash, `..` or control character.
    pub name: String,
    /// Such as `1.4.2`; `latest` when nothing is said. At most 128 bytes, same characters as a name.
    #[serde(default = "latest")]
    pub version: String,
    /// Labels of every endpoint of this version.
    #[serde(default, skip_serializing_if = "none")]
    pub metadata: Labels,
    /// What can be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Method>,
    /// Who answers. An announcement needs at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
}

/// One place that serves a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use]
pub struct Endpoint {
    /// Unique within the service; same rules as a service name.
    pub id: EndpointId,
    /// Where it listens.
    pub address: Address,
    /// Its share of the load relative to the others: 1 when nothing is said, 0 to drain it, at most 65 535.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// The failure domain it runs in, such as `eu-central-1a`; same rules as a service name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// 0 is asked first; higher numbers are for when those are gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// Labels of this endpoint alone.
    #[serde(default, skip_serializing_if = "none")]
    pub metadata: Labels,
}

/// Something that can be called, such as `Greeter.Hello`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use]
pub struct Method {
    /// As callers write it; not empty, at most 1024 bytes, without control characters.
    pub name: String,
    /// What goes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Shape>,
    /// What comes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Shape>,
    /// Labels, such as `stream: true`.
    #[serde(default, skip_serializing_if = "none")]
    pub metadata: Labels,
}

/// The outline of a message: its fields and theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use]
pub struct Shape {
    /// The field's name; for a whole message, the message's.
    pub name: String,
    /// The type's name. `type` in JSON.
    #[serde(rename = "type")]
    pub kind: String,
    /// The fields, for a message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Shape>,
}

fn latest() -> String {
    "latest".to_owned()
}

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(priority: &u32) -> bool {
    *priority == 0
}

fn none(labels: &Labels) -> bool {
    labels.is_empty()
}

impl Service {
    /// Version `latest` of `name`, without methods or endpoints.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: latest(),
            metadata: Labels::new(),
            methods: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Sets the version.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds a label to every endpoint of this version.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a method.
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// Adds an endpoint.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }
}

impl Endpoint {
    /// Weight 1, priority 0, no zone.
    pub fn new(id: impl Into<EndpointId>, address: Address) -> Self {
        Self { id: id.into(), address, weight: 1, zone: None, priority: 0, metadata: Labels::new() }
    }

    /// Sets the weight: 0 drains, at most 65 535.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the zone.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets the priority: 0 is asked first.
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Adds a label.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Labels it as taking only what the others cannot: `health` is `degraded`. Consul's `warning` is read as that.
    pub fn degraded(self) -> Self {
        self.metadata(HEALTH, DEGRADED)
    }

    /// Whether it is labelled so.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.metadata.get(HEALTH).is_some_and(|health| health.eq_ignore_ascii_case(DEGRADED))
    }
}

impl Method {
    /// A method with no outline.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), request: None, response: None, metadata: Labels::new() }
    }

    /// Sets what goes in.
    pub fn request(mut self, request: Shape) -> Self {
        self.request = Some(request);
        self
    }

    /// Sets what comes out.
    pub fn response(mut self, response: Shape) -> Self {
        self.response = Some(response);
        self
    }

    /// Adds a label.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

impl Shape {
    /// A field or message without fields of its own.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), values: Vec::new() }
    }

    /// Adds a field.
    pub fn value(mut self, value: Shape) -> Self {
        self.values.push(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str) -> Endpoint {
        Endpoint::new(id, "127.0.0.1:80".parse().unwrap())
    }

    #[test]
    fn a_record_survives_json() {
        let hello = Method::new("/greeter.Greeter/Hello")
            .request(Shape::new("Req", "Req").value(Shape::new("name", "string")))
            .metadata("stream", "false");
        let record = Service::new("greeter")
            .version("1.2.0")
            .metadata("owner", "us")
            .method(hello)
            .endpoint(endpoint("a").weight(0).zone("eu").priority(2).metadata("node", "n1"));
        record.validate().unwrap();
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Service>(&json).unwrap(), record);
    }

    #[test]
    fn what_a_record_leaves_out_has_its_default_and_what_it_adds_is_ignored() {
        let json = r#"{"name":"greeter","color":"red","endpoints":[{"id":"a","address":"h:1"}]}"#;
        let record: Service = serde_json::from_str(json).unwrap();
        assert_eq!(record, Service::new("greeter").endpoint(Endpoint::new("a", "h:1".parse().unwrap())));
        assert_eq!((record.version.as_str(), record.endpoints[0].weight), ("latest", 1));
    }
}
