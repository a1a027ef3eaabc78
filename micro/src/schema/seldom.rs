//! Reads what ProtoJSON allows and the reader of messages does not know: whole numbers as strings with a fraction or an
//! exponent, such as `"1e5"`, an `Any` of nothing, `{}`, and wrappers of a negative zero. All else is left to that reader, value by value.

use std::collections::HashMap;

use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as FieldValue,
};
use serde::de::Error as _;
use serde_json::{Error, Map, Value};

use super::encode::encode;
use super::strict::is_number;

/// What an exponent may be: no number of 64 bits has more digits.
const MOST_ZEROS: usize = 20;

/// The message that `json` is, which was checked by [`strict`](super::strict).
pub(super) fn read(
    message: &MessageDescriptor,
    json: Value,
    options: &DeserializeOptions,
) -> Result<DynamicMessage, Error> {
    match (message.full_name(), json) {
        ("google.protobuf.Any", Value::Object(object)) => any(message, object, options),
        ("google.protobuf.DoubleValue", Value::Number(number)) => {
            wrapped(message, FieldValue::F64(number.as_f64().unwrap_or_default()))
        }
        ("google.protobuf.FloatValue", Value::Number(zero)) if zero.as_f64() == Some(0.0) => {
            wrapped(message, FieldValue::F32(zero.as_f64().unwrap_or_default() as f32))
        }
        (name, json) if name.starts_with("google.protobuf.") => match message.get_field(1) {
            Some(inner) => known(message, plain(&inner.kind(), json), options),
            None => known(message, json, options),
        },
        (_, Value::Object(object)) => fields(message, object, options),
        (_, json) => known(message, json, options),
    }
}

/// By the reader that does not know them.
fn known(
    message: &MessageDescriptor,
    json: Value,
    options: &DeserializeOptions,
) -> Result<DynamicMessage, Error> {
    DynamicMessage::deserialize_with_options(message.clone(), json, options)
}

/// The encoder would leave a negative zero out.
fn wrapped(message: &MessageDescriptor, value: FieldValue) -> Result<DynamicMessage, Error> {
    let mut wrapper = DynamicMessage::new(message.clone());
    wrapper.set_field_by_number(1, value);
    Ok(wrapper)
}

fn any(
    message: &MessageDescriptor,
    mut object: Map<String, Value>,
    options: &DeserializeOptions,
) -> Result<DynamicMessage, Error> {
    let mut any = DynamicMessage::new(message.clone());
    if object.is_empty() {
        return Ok(any);
    }
    let Some(Value::String(url)) = object.remove("@type") else {
        return known(message, Value::Object(object), options);
    };
    let name = url.rsplit_once('/').map_or("", |(_, name)| name);
    let Some(inner) = message.parent_pool().get_message_by_name(name) else {
        return Err(Error::custom(format_args!("there is no message {name:?} for an Any")));
    };
    let inner = match object.remove("value") {
        Some(value) if name.starts_with("google.protobuf.") && object.is_empty() => {
            read(&inner, value, options)
        }
        value => {
            object.extend(value.map(|value| ("value".to_owned(), value)));
            read(&inner, Value::Object(object), options)
        }
    }?;
    any.set_field_by_number(1, FieldValue::String(url));
    any.set_field_by_number(2, FieldValue::Bytes(encode(&inner).into()));
    Ok(any)
}

fn fields(
    message: &MessageDescriptor,
    object: Map<String, Value>,
    options: &DeserializeOptions,
) -> Result<DynamicMessage, Error> {
    let (mut rest, mut messages) = (Map::new(), Vec::new());
    for (name, value) in object {
        let field = message.get_field_by_json_name(&name).or_else(|| message.get_field_by_name(&name));
        match field {
            Some(field) if !value.is_null() => match of_messages(&field) {
                Some(inner) => messages.push((field, inner, value)),
                None => drop(rest.insert(name, plain(&element(&field), value))),
            },
            _ => drop(rest.insert(name, value)),
        }
    }
    let mut read = known(message, Value::Object(rest), options)?;
    for (field, inner, value) in messages {
        let mut others =
            field.containing_oneof().into_iter().flat_map(|oneof| oneof.fields().collect::<Vec<_>>());
        if others.any(|other| read.has_field(&other)) {
            return Err(Error::custom(format_args!(
                "{:?} is one of several, of which one is given",
                field.name()
            )));
        }
        read.set_field(&field, values(&field, &inner, value, options)?);
    }
    Ok(read)
}

/// What a field holds, or a list or a map in it.
fn element(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    }
}

/// The message that `field` holds, lists or maps to.
fn of_messages(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match element(field) {
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

fn values(
    field: &FieldDescriptor,
    of: &MessageDescriptor,
    json: Value,
    options: &DeserializeOptions,
) -> Result<FieldValue, Error> {
    let one = |json| read(of, json, options).map(FieldValue::Message);
    match json {
        Value::Array(list) if field.is_list() => {
            list.into_iter().map(one).collect::<Result<_, _>>().map(FieldValue::List)
        }
        Value::Object(map) if field.is_map() => {
            let entries = map.into_iter().map(|(key, json)| Ok((map_key(field, key)?, one(json)?)));
            entries.collect::<Result<HashMap<_, _>, Error>>().map(FieldValue::Map)
        }
        json if field.is_list() || field.is_map() => {
            Err(Error::custom(format_args!("{:?} cannot be {json}", field.name())))
        }
        json => one(json),
    }
}

fn map_key(field: &FieldDescriptor, text: String) -> Result<MapKey, Error> {
    let Kind::Message(entry) = field.kind() else { return Ok(MapKey::String(text)) };
    let key = match entry.map_entry_key_field().kind() {
        Kind::Bool => text.parse().ok().map(MapKey::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => text.parse().ok().map(MapKey::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text.parse().ok().map(MapKey::I64),
        Kind::Uint32 | Kind::Fixed32 => text.parse().ok().map(MapKey::U32),
        Kind::Uint64 | Kind::Fixed64 => text.parse().ok().map(MapKey::U64),
        _ => return Ok(MapKey::String(text)),
    };
    key.ok_or_else(|| Error::custom(format_args!("{text:?} is no key of {:?}", field.name())))
}

/// `json` with its whole numbers as digits alone, if it is of numbers.
fn plain(kind: &Kind, json: Value) -> Value {
    if matches!(kind, Kind::Bool | Kind::String | Kind::Bytes | Kind::Enum(_) | Kind::Message(_))
        || matches!(kind, Kind::Float | Kind::Double)
    {
        return json;
    }
    match json {
        Value::String(text) if is_number(&text) => Value::String(digits(&text).unwrap_or(text)),
        Value::Array(list) => list.into_iter().map(|json| plain(kind, json)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, json)| (key, plain(kind, json))).collect(),
        json => json,
    }
}

/// The digits of a whole number with a fraction or an exponent; none if it is not whole, or too long.
fn digits(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let exponent: i32 = exponent.parse().ok()?;
    let moved = usize::try_from(exponent.unsigned_abs()).ok()?;
    let digits = if exponent < 0 {
        let kept = whole.len().checked_sub(moved).filter(|_| fraction.is_empty())?;
        let (whole, zeros) = whole.split_at(kept);
        zeros.bytes().all(|digit| digit == b'0').then(|| whole.to_owned())?
    } else {
        let zeros = moved.checked_sub(fraction.len()).filter(|zeros| *zeros <= MOST_ZEROS)?;
        format!("{whole}{fraction}{}", "0".repeat(zeros))
    };
    let digits = digits.trim_start_matches('0');
    Some(if digits.is_empty() { "0".to_owned() } else { format!("{sign}{digits}") })
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn whole_numbers_are_told_from_others_without_rounding() {
        for (text, expected) in [
            ("1e5", Some("100000")),
            ("-1.50E+1", Some("-15")),
            ("9007199254740993.0", Some("9007199254740993")),
            ("1200e-2", Some("12")),
            ("0e7", Some("0")),
            ("-0.0", Some("0")),
            ("0.0012e4", Some("12")),
            ("7", Some("7")),
            ("1.5", None),
            ("12e-2", None),
            ("1e400", None),
            ("1e99999999999", None),
        ] {
            assert_eq!(digits(text).as_deref(), expected, "{text}");
        }
    }
}
