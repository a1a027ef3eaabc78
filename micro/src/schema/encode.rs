//! Encodes messages with their negative zeros, which the encoder of messages takes for defaults and leaves out.

use std::borrow::Cow;

use bytes::BufMut;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

/// `message` as bytes, in the order of its fields' numbers where it has a negative zero.
pub(crate) fn encode(message: &DynamicMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(message, &mut bytes);
    bytes
}

/// The same, into a buffer that grows.
pub(crate) fn encode_into(message: &DynamicMessage, to: &mut impl BufMut) {
    if !has_negative_zero(message) {
        return message.encode_raw(to);
    }
    let mut rest = message.clone();
    for field in message.descriptor().fields() {
        let value = message.get_field(&field);
        if is_left_out(&field, &value) || message.has_field(&field) {
            one(&field, value, to);
            rest.clear_field(&field);
        }
    }
    // Extensions, and what nobody knows.
    rest.encode_raw(to);
}

fn one(field: &FieldDescriptor, value: Cow<'_, Value>, to: &mut impl BufMut) {
    match value.as_ref() {
        Value::F32(zero) if is_left_out(field, &value) => {
            encode_key(field.number(), WireType::ThirtyTwoBit, to);
            to.put_f32_le(*zero);
        }
        Value::F64(zero) if is_left_out(field, &value) => {
            encode_key(field.number(), WireType::SixtyFourBit, to);
            to.put_f64_le(*zero);
        }
        Value::Message(message) if !field.is_group() => inner(field, message, to),
        Value::List(list) if matches!(field.kind(), Kind::Message(_)) && !field.is_group() => {
            list.iter().filter_map(Value::as_message).for_each(|message| inner(field, message, to));
        }
        Value::Map(map) => map.iter().for_each(|(key, value)| entry(field, key, value, to)),
        _ => {
            let mut alone = DynamicMessage::new(field.parent_message().clone());
            alone.set_field(field, value.into_owned());
            alone.encode_raw(to);
        }
    }
}

fn inner(field: &FieldDescriptor, message: &DynamicMessage, to: &mut impl BufMut) {
    let bytes = encode(message);
    encode_key(field.number(), WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.put_slice(&bytes);
}

fn entry(field: &FieldDescriptor, key: &MapKey, value: &Value, to: &mut impl BufMut) {
    let Kind::Message(of) = field.kind() else { return };
    let mut message = DynamicMessage::new(of.clone());
    message.set_field(&of.map_entry_key_field(), Value::from(key.clone()));
    message.set_field(&of.map_entry_value_field(), value.clone());
    inner(field, &message, to);
}

/// Whether `value` is a negative zero of a field that is there by its value alone.
pub(super) fn is_left_out(field: &FieldDescriptor, value: &Value) -> bool {
    !field.supports_presence() && is_negative_zero(value)
}

fn is_negative_zero(value: &Value) -> bool {
    match value {
        Value::F32(value) => *value == 0.0 && value.is_sign_negative(),
        Value::F64(value) => *value == 0.0 && value.is_sign_negative(),
        _ => false,
    }
}

/// Whether there is one in `message`, at any depth, that would be left out.
fn has_negative_zero(message: &DynamicMessage) -> bool {
    message.descriptor().fields().any(|field| match field.kind() {
        Kind::Float | Kind::Double if !field.is_list() => is_left_out(&field, &message.get_field(&field)),
        Kind::Message(_) if message.has_field(&field) => match message.get_field(&field).as_ref() {
            Value::Message(inner) => has_negative_zero(inner),
            Value::List(list) => list.iter().filter_map(Value::as_message).any(has_negative_zero),
            Value::Map(map) => map
                .values()
                .any(|value| is_negative_zero(value) || value.as_message().is_some_and(has_negative_zero)),
            _ => false,
        },
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::found::tests::schema;
    use super::super::json::Json;
    use super::*;

    #[test]
    fn negative_zeros_arrive_at_any_depth_and_nothing_else_changes() {
        let proto = "syntax = 'proto3'; import 'google/protobuf/wrappers.proto'; message M {
            double d = 1; float f = 2; M m = 3; repeated M ms = 4; map<string, M> named = 5; map<int32, double> map = 6;
            repeated double ds = 7; optional double maybe = 8; string s = 9; google.protobuf.DoubleValue wide = 10;
            google.protobuf.FloatValue thin = 11; }";
        let message = schema(proto).pool().get_message_by_name("M").unwrap();
        for text in [
            r#"{"d":-0.0,"f":-0.0,"s":"a"}"#,
            r#"{"m":{"m":{"f":-0.0}},"s":"a"}"#,
            r#"{"ms":[{},{"d":-0.0,"s":"b"},{}],"named":{"a":{"d":-0.0}}}"#,
            r#"{"map":{"7":-0.0}}"#,
            r#"{"d":-0.0,"named":{"":{}},"ds":[-0.0,0.0,1.0],"maybe":-0.0}"#,
            r#"{"wide":-0.0,"thin":-0.0}"#,
            r#"{"d":1.5,"m":{},"maybe":0.0,"wide":0.0}"#,
        ] {
            let read = Json::new().read(&message, text.as_bytes()).unwrap();
            let arrived = DynamicMessage::decode(message.clone(), encode(&read).as_slice()).unwrap();
            assert_eq!(Json::new().write(&arrived).unwrap(), text);
        }
    }
}
