//! An example of a message, to fill in.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The message as JSON with every field, the first of each choice, one element in each list and map. Messages are
/// filled four deep, so that one that contains itself has an end.
pub fn template(message: &MessageDescriptor) -> Value {
    filled(message, 4)
}

fn filled(message: &MessageDescriptor, deep: usize) -> Value {
    match message.full_name() {
        "google.protobuf.Timestamp" => return json!("2006-01-02T15:04:05Z"),
        "google.protobuf.Duration" => return json!("1.5s"),
        "google.protobuf.FieldMask" | "google.protobuf.StringValue" | "google.protobuf.BytesValue" => {
            return json!("");
        }
        "google.protobuf.BoolValue" => return json!(false),
        "google.protobuf.Int64Value" | "google.protobuf.UInt64Value" => return json!("0"),
        "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.FloatValue"
        | "google.protobuf.DoubleValue" => return json!(0),
        "google.protobuf.Struct" | "google.protobuf.Empty" => return json!({}),
        "google.protobuf.Any" => {
            return json!({"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}});
        }
        "google.protobuf.Value" => return Value::Null,
        "google.protobuf.ListValue" => return json!([]),
        _ => {}
    }
    let mut object = Map::new();
    let first = |field: &FieldDescriptor| {
        field
            .containing_oneof()
            .is_none_or(|oneof| oneof.fields().next().is_some_and(|first| first == *field))
    };
    for field in message.fields().filter(first) {
        if let Some(value) = value(&field, deep) {
            object.insert(field.json_name().to_owned(), value);
        }
    }
    Value::Object(object)
}

fn value(field: &FieldDescriptor, deep: usize) -> Option<Value> {
    if field.is_map()
        && let Kind::Message(entry) = field.kind()
    {
        let (key, value) = (entry.get_field(1)?, entry.get_field(2)?);
        let key = if key.kind() == Kind::String { "key" } else { "0" };
        return Some(json!({ key: scalar(&value.kind(), deep)? }));
    }
    let one = scalar(&field.kind(), deep)?;
    Some(if field.is_list() { json!([one]) } else { one })
}

fn scalar(kind: &Kind, deep: usize) -> Option<Value> {
    Some(match kind {
        Kind::Message(message) => filled(message, deep.checked_sub(1)?),
        Kind::Enum(values) => json!(values.values().next()?.name()),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => json!("0"),
        Kind::Bool => json!(false),
        Kind::String | Kind::Bytes => json!(""),
        _ => json!(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Json;
    use crate::schema::found::tests::schema;

    #[test]
    fn a_template_is_a_message() {
        let proto = "syntax = 'proto3'; import 'google/protobuf/any.proto'; import 'google/protobuf/wrappers.proto';
            import 'google/protobuf/timestamp.proto'; import 'google/protobuf/struct.proto';
            message M { M m = 1; map<int32, M> map = 2; repeated E e = 3; oneof o { int64 i = 4; string s = 5; }
            google.protobuf.Int64Value w = 6; google.protobuf.Timestamp t = 7; google.protobuf.Value v = 8; }
            enum E { A = 0; }";
        let message = schema(proto).pool().get_message_by_name("M").unwrap();
        let template = template(&message);
        assert_eq!(template["i"], "0");
        assert_eq!(template["m"]["map"]["0"]["e"][0], "A");
        assert!(template.get("s").is_none(), "one of a choice");
        Json::new().read(&message, template.to_string().as_bytes()).unwrap();
    }
}
