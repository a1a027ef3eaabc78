//! Fields that are given as text, in a path or a query, as the JSON that a body would have.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

/// A field that cannot be given as text, or not this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidField {
    /// There is none of this name.
    #[error("there is no field {0:?}")]
    Unknown(String),
    /// It is a message, a list of them, or a map.
    #[error("the field {0:?} cannot be given in a path or a query")]
    NoText(String),
    /// It was given twice, and is no list.
    #[error("the field {0:?} is given twice")]
    Twice(String),
    /// The text is not of its type.
    #[error("the field {field:?} cannot be {text:?}")]
    Value {
        /// The field's path.
        field: String,
        /// What was given.
        text: String,
    },
}

/// The field that `path` names from `message` on, by names as in the `.proto` or as in JSON, and all on the way to it.
pub(super) fn resolve(message: &MessageDescriptor, path: &str) -> Option<Vec<FieldDescriptor>> {
    let mut message = message.clone();
    let mut fields = Vec::new();
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))?;
        if names.peek().is_some() {
            match field.kind() {
                Kind::Message(next) if !field.is_list() && !field.is_map() => message = next,
                _ => return None,
            }
        }
        fields.push(field);
    }
    Some(fields)
}

/// Puts `text` where `path` says into `json`, the JSON of a `message`.
pub(super) fn put(
    message: &MessageDescriptor,
    json: &mut Map<String, Value>,
    path: &str,
    text: &str,
) -> Result<(), InvalidField> {
    let fields = resolve(message, path).ok_or_else(|| InvalidField::Unknown(path.to_owned()))?;
    let Some((last, way)) = fields.split_last() else { return Err(InvalidField::Unknown(path.to_owned())) };
    if last.is_map() {
        return Err(InvalidField::NoText(path.to_owned()));
    }
    let value = value(&last.kind(), text).map_err(|why| match why {
        Why::NoText => InvalidField::NoText(path.to_owned()),
        Why::Value => InvalidField::Value { field: path.to_owned(), text: text.to_owned() },
    })?;
    let mut at = json;
    for field in way {
        let inner = at.entry(field.json_name()).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = inner else { return Err(InvalidField::Twice(path.to_owned())) };
        at = inner;
    }
    match at.get_mut(last.json_name()) {
        Some(Value::Array(list)) if last.is_list() => list.push(value),
        Some(_) => return Err(InvalidField::Twice(path.to_owned())),
        None if last.is_list() => drop(at.insert(last.json_name().to_owned(), Value::Array(vec![value]))),
        None => drop(at.insert(last.json_name().to_owned(), value)),
    }
    Ok(())
}

enum Why {
    NoText,
    Value,
}

fn value(kind: &Kind, text: &str) -> Result<Value, Why> {
    Ok(match kind {
        Kind::Bool => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(Why::Value),
        },
        Kind::Enum(of) => match text.parse::<i32>() {
            Ok(number) => Value::from(number),
            Err(_) if of.get_value_by_name(text).is_some() => Value::from(text),
            Err(_) => return Err(Why::Value),
        },
        Kind::Message(of) => return well_known(of, text),
        // Numbers are read from strings too, as exactly as they are written.
        _ => Value::from(text),
    })
}

/// Messages that JSON writes as a scalar.
fn well_known(message: &MessageDescriptor, text: &str) -> Result<Value, Why> {
    match message.full_name().strip_prefix("google.protobuf.").unwrap_or_default() {
        "Timestamp" | "Duration" | "FieldMask" => Ok(Value::from(text)),
        "BoolValue" | "StringValue" | "BytesValue" | "DoubleValue" | "FloatValue" | "Int32Value"
        | "Int64Value" | "UInt32Value" | "UInt64Value" => match message.get_field(1) {
            Some(inner) => value(&inner.kind(), text),
            None => Err(Why::NoText),
        },
        _ => Err(Why::NoText),
    }
}

/// The fields that `json` gives of `message`, as deep as it goes, as a field mask names them.
pub(super) fn mask(message: &MessageDescriptor, json: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    collect(message, json, "", &mut paths);
    paths
}

fn collect(message: &MessageDescriptor, json: &Value, before: &str, paths: &mut Vec<String>) {
    let Value::Object(object) = json else { return };
    for (name, value) in object {
        let Some(field) = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
        else {
            continue;
        };
        let path = format!("{before}{}", field.name());
        match (field.kind(), value) {
            (Kind::Message(inner), Value::Object(object))
                if !object.is_empty()
                    && !field.is_map()
                    && !field.is_list()
                    && !inner.full_name().starts_with("google.protobuf.") =>
            {
                collect(&inner, value, &format!("{path}."), paths);
            }
            _ => paths.push(path),
        }
    }
}

/// The pairs of a query, decoded; none where that cannot be done. A plus is a space, as forms write it.
pub(crate) fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let decoded = |text: &str| super::template::decode(&text.replace('+', " "), false);
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(k, v)| Some((decoded(k)?, decoded(v)?)))
        .collect()
}
