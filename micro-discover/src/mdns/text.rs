//! A record in the strings of a TXT record: go-micro's JSON, zlib in hex, 255 bytes a string.
//!
//! go-micro says what an endpoint's labels and methods are. What it has no place for is beside that, in a record of
//! ours, which it does not look at.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::gomicro::{Call, decode_said, dialled, encode_said};
use crate::labels::Labels;
use crate::packed::{pack, unpack};
use crate::record::{Endpoint, Method, Service};
use crate::said::Said;

const LONGEST: usize = 255;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Text {
    service: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    endpoints: Option<Vec<Call>>,
    #[serde(default)]
    metadata: Option<Labels>,
    /// Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<Box<RawValue>>,
}

/// What the other records of an instance say.
pub(super) struct Place {
    pub(super) id: String,
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
}

/// The strings for what is said of one endpoint.
pub(super) fn write(said: &Said) -> Vec<Vec<u8>> {
    let Service { name, version, methods, endpoints, .. } = &said.service;
    let record = String::from_utf8(encode_said(said)).ok();
    let text = Text {
        service: name.clone(),
        version: Some(version.clone()),
        endpoints: Some(methods.iter().map(Call::from).collect()),
        metadata: endpoints.first().map(|endpoint| endpoint.metadata.clone()),
        record: record.and_then(|record| RawValue::from_string(record).ok()),
    };
    strings(&text)
}

/// The strings for a service of which only the name is told.
pub(super) fn write_name(service: &str) -> Vec<Vec<u8>> {
    strings(&Text {
        service: service.to_owned(),
        version: None,
        endpoints: None,
        metadata: None,
        record: None,
    })
}

fn strings(text: &Text) -> Vec<Vec<u8>> {
    let json = serde_json::to_vec(text).expect("strings and numbers are always JSON");
    pack(&json).as_bytes().chunks(LONGEST).map(<[u8]>::to_vec).collect()
}

fn parse(strings: &[Box<[u8]>]) -> Option<Text> {
    serde_json::from_slice(&unpack(&strings.concat())?).ok()
}

/// The service the strings speak of.
pub(super) fn service(strings: &[Box<[u8]>]) -> Option<String> {
    Some(parse(strings)?.service)
}

/// What the strings say of one endpoint; `place` tells where one of go-micro's is.
pub(super) fn read(strings: &[Box<[u8]>], place: impl FnOnce(&str) -> Option<Place>) -> Option<Said> {
    let text = parse(strings)?;
    if let Some(record) = &text.record {
        let said = decode_said(record.get().as_bytes()).ok()?;
        return (said.service.name == text.service && said.service.endpoints.len() == 1).then_some(said);
    }
    let Place { id, ip, port } = place(&text.service)?;
    let metadata = text.metadata.unwrap_or_default();
    let mut endpoint = Endpoint::new(id, dialled(&ip?.to_string(), u32::from(port), &metadata).ok()?);
    endpoint.metadata = metadata;
    let mut service = Service::new(text.service).endpoint(endpoint);
    service.methods = text.endpoints.unwrap_or_default().into_iter().map(Method::from).collect();
    if let Some(version) = text.version.filter(|version| !version.is_empty()) {
        service.version = version;
    }
    service.validate().ok()?;
    Some(Said { service, ttl: None::<Duration>, owner: None })
}
