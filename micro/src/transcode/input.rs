//! From a request's path, query and body to a message.

use http::Method;
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value as FieldValue};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::fields::{InvalidField, mask, pairs, put, resolve};
use super::route::Found;
use super::rule::Body;
use crate::schema::{Json, JsonError, encode};

/// Why a request is no message of its method.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInput {
    /// A field of the path or the query.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// The query cannot be decoded.
    #[error("the query has a broken percent-encoding")]
    Query,
    /// The body.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The body, of which only a field is wanted.
    #[error("the body is not JSON: {0}")]
    Body(#[source] serde_json::Error),
    /// The method's own annotation names what is not there.
    #[error("the method names {0:?} as its body, which is no field of its request")]
    NoBody(String),
}

/// A request, but for its target.
pub(super) struct Input<'a> {
    pub(super) verb: &'a Method,
    pub(super) query: &'a str,
    pub(super) kind: &'a str,
    pub(super) body: &'a [u8],
}

/// What is bytes of any type, and no JSON.
pub(super) const HTTP_BODY: &str = "google.api.HttpBody";

/// The message that `input` gives the method `found`.
pub(super) fn message(found: &Found, input: &Input<'_>) -> Result<DynamicMessage, InvalidInput> {
    let request = found.method.input();
    let mut message = match &found.body {
        Body::None => DynamicMessage::new(request.clone()),
        Body::Whole => whole(&request, input)?,
        Body::Field(field) => part(&request, field, input)?,
    };
    let given = by_text(found, &request, input)?;
    // What the path says stands, whatever the body says.
    for (field, _) in &found.fields {
        clear(&mut message, field);
    }
    let bytes = encode(&given);
    if !bytes.is_empty() {
        // It was encoded just now, as the same type.
        message.merge(bytes.as_slice()).ok();
    }
    Ok(message)
}

/// What path and query give.
fn by_text(
    found: &Found,
    request: &MessageDescriptor,
    input: &Input<'_>,
) -> Result<DynamicMessage, InvalidInput> {
    let mut json = Map::new();
    for (field, text) in &found.fields {
        put(request, &mut json, field, text)?;
    }
    for (field, text) in pairs(input.query).ok_or(InvalidInput::Query)? {
        let same = |other: &str| {
            resolve(request, other).is_some_and(|fields| Some(fields) == resolve(request, &field))
        };
        if !found.fields.iter().any(|(other, _)| same(other)) {
            put(request, &mut json, &field, &text)?;
        }
    }
    if input.verb == Method::PATCH
        && let Body::Field(body) = &found.body
        && let Some((name, paths)) = implied_mask(request, body, input.body)
    {
        json.entry(name).or_insert(Value::from(paths));
    }
    if json.is_empty() {
        return Ok(DynamicMessage::new(request.clone()));
    }
    Ok(Json::new().read(request, Value::Object(json).to_string().as_bytes())?)
}

/// A PATCH that says no mask means the fields that its body gives.
fn implied_mask(request: &MessageDescriptor, body: &str, text: &[u8]) -> Option<(String, String)> {
    let is_mask =
        |kind: Kind| matches!(kind, Kind::Message(of) if of.full_name() == "google.protobuf.FieldMask");
    let field = request.fields().find(|field| is_mask(field.kind()) && !field.is_list())?;
    let Kind::Message(of) = request.get_field_by_name(body)?.kind() else { return None };
    let json: Value = serde_json::from_slice(text).ok()?;
    let paths: Vec<_> = mask(&of, &json).iter().map(|path| camel(path)).collect();
    (!paths.is_empty()).then(|| (field.json_name().to_owned(), paths.join(",")))
}

/// The JSON of a field mask has its names so.
fn camel(path: &str) -> String {
    let mut text = String::new();
    let mut line = false;
    for letter in path.chars() {
        match letter {
            '_' => line = true,
            letter if std::mem::take(&mut line) => text.extend(letter.to_uppercase()),
            letter => text.push(letter),
        }
    }
    text
}

/// The body as the whole message; nothing is an empty one.
fn whole(request: &MessageDescriptor, input: &Input<'_>) -> Result<DynamicMessage, InvalidInput> {
    if request.full_name() == HTTP_BODY {
        return Ok(http_body(request, input));
    }
    if input.body.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(request.clone()));
    }
    if is_protobuf(input.kind) {
        return DynamicMessage::decode(request.clone(), input.body)
            .map_err(|error| InvalidInput::Body(serde::de::Error::custom(error)));
    }
    Ok(Json::new().read(request, input.body)?)
}

/// The body as the field `name`.
fn part(request: &MessageDescriptor, name: &str, input: &Input<'_>) -> Result<DynamicMessage, InvalidInput> {
    let field = request.get_field_by_name(name).or_else(|| request.get_field_by_json_name(name));
    let field = field.ok_or_else(|| InvalidInput::NoBody(name.to_owned()))?;
    let mut message = DynamicMessage::new(request.clone());
    if let Kind::Message(of) = field.kind()
        && of.full_name() == HTTP_BODY
    {
        message.set_field(&field, FieldValue::Message(http_body(&of, input)));
        return Ok(message);
    }
    if input.body.trim_ascii().is_empty() {
        return Ok(message);
    }
    // A document of its own, or it could name other fields.
    let value: &RawValue = serde_json::from_slice(input.body).map_err(InvalidInput::Body)?;
    let name = Value::from(field.json_name());
    Ok(Json::new().read(request, format!("{{{name}:{value}}}").as_bytes())?)
}

/// The body as it is, with its type.
fn http_body(of: &MessageDescriptor, input: &Input<'_>) -> DynamicMessage {
    let mut body = DynamicMessage::new(of.clone());
    body.set_field_by_name("content_type", FieldValue::String(input.kind.to_owned()));
    body.set_field_by_name("data", FieldValue::Bytes(input.body.to_vec().into()));
    body
}

pub(super) fn is_protobuf(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/protobuf", "application/proto", "application/x-protobuf"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

/// Takes the field at `path` out of `message`.
fn clear(message: &mut DynamicMessage, path: &str) {
    let Some(fields) = resolve(&message.descriptor(), path) else { return };
    let Some((last, way)) = fields.split_last() else { return };
    let mut at = message;
    for field in way {
        if !at.has_field(field) {
            return;
        }
        let FieldValue::Message(inner) = at.get_field_mut(field) else { return };
        at = inner;
    }
    at.clear_field(last);
}
