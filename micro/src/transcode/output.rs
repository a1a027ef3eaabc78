//! From a message to what is answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};
use serde_json::value::RawValue;
use tonic::Status;

use super::input::HTTP_BODY;
use crate::schema::{Json, encode};

/// What is answered, and as what.
pub(super) struct Output {
    pub(super) kind: String,
    pub(super) data: Bytes,
}

/// `message` as protobuf of the type `kind`, for whoever asked in that.
pub(super) fn protobuf(message: &DynamicMessage, kind: &str) -> Output {
    Output { kind: kind.to_owned(), data: encode(message).into() }
}

/// `message`, or the field of it that `response_body` names.
pub(super) fn output(message: &DynamicMessage, response_body: &str) -> Result<Output, Status> {
    let field = message.descriptor().get_field_by_name(response_body);
    let value = field.as_ref().map(|field| message.get_field(field));
    let inner = match value.as_deref() {
        Some(Value::Message(inner)) => Some(inner),
        Some(_) => None,
        None => Some(message),
    };
    if let Some(body) = inner.filter(|inner| inner.descriptor().full_name() == HTTP_BODY) {
        return Ok(raw(body));
    }
    let json = match (&field, inner) {
        // A field that is not set has no fields of its own.
        (Some(field), Some(inner)) if !field.is_list() && message.has_field(field) => {
            write(&Json::new(), inner)?
        }
        (Some(field), _) if matches!(field.kind(), Kind::Message(_)) && field.supports_presence() => {
            "null".to_owned()
        }
        (Some(field), _) => one_field(message, field.json_name())?,
        (None, _) => write(&Json::new(), message)?,
    };
    Ok(Output { kind: "application/json".to_owned(), data: json.into() })
}

/// The JSON of one field, also where it is at its default. Elements keep their own form.
fn one_field(message: &DynamicMessage, name: &str) -> Result<String, Status> {
    let fields = |json: &Json| -> Result<BTreeMap<String, Box<RawValue>>, Status> {
        let text = write(json, message)?;
        serde_json::from_str(&text).map_err(|error| Status::internal(error.to_string()))
    };
    let mut set = fields(&Json::new())?;
    let value = match set.remove(name) {
        Some(value) => Some(value),
        None => fields(&Json::new().defaults(true))?.remove(name),
    };
    Ok(value.map_or("null".to_owned(), |value| value.get().to_owned()))
}

fn write(json: &Json, message: &DynamicMessage) -> Result<String, Status> {
    json.write(message).map_err(|error| Status::internal(error.to_string()))
}

/// The bytes of a `google.api.HttpBody`, as it says.
fn raw(body: &DynamicMessage) -> Output {
    let kind = body.get_field_by_name("content_type").and_then(|kind| kind.as_str().map(str::to_owned));
    let data = body.get_field_by_name("data").and_then(|data| data.as_bytes().cloned());
    let kind = kind.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "application/octet-stream".to_owned());
    Output { kind, data: data.unwrap_or_default() }
}
