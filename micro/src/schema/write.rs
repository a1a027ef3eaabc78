//! Writes messages as ProtoJSON. Forms of their own, such as that of a `Struct`, are left to the reader of messages,
//! which takes no `Any` of nothing and writes timestamps and durations that are none.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost_reflect::{
    DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage, SerializeOptions, Value,
};
use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};

use super::encode::is_left_out;

/// What there is to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) defaults: bool,
    pub(super) proto_names: bool,
    pub(super) enum_numbers: bool,
}

impl Form {
    /// The same for messages that have a form of their own.
    fn options(self) -> SerializeOptions {
        SerializeOptions::new()
            .skip_default_fields(!self.defaults)
            .use_proto_field_name(self.proto_names)
            .use_enum_numbers(self.enum_numbers)
    }
}

/// Nanoseconds of a whole second.
const SECOND: i32 = 1_000_000_000;

/// Something of a message, to be written in this form.
pub(super) struct Written<T> {
    pub(super) it: T,
    pub(super) form: Form,
}

impl<T> Written<T> {
    fn of<U>(&self, it: U) -> Written<U> {
        Written { it, form: self.form }
    }
}

impl Serialize for Written<&DynamicMessage> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let descriptor = self.it.descriptor();
        match descriptor.full_name().strip_prefix("google.protobuf.") {
            Some("Any") => return any(self, to),
            Some("DoubleValue" | "FloatValue") => return number(self, to),
            Some("Timestamp") if !is_moment(self.it) => return Err(S::Error::custom("this is no timestamp")),
            Some("Duration") if !is_duration(self.it) => return Err(S::Error::custom("this is no duration")),
            Some(_) => return self.it.serialize_with_options(to, &self.form.options()),
            None => {}
        }
        let mut map = to.serialize_map(None)?;
        fields(self, &mut map)?;
        map.end()
    }
}

fn any<S: Serializer>(written: &Written<&DynamicMessage>, to: S) -> Result<S::Ok, S::Error> {
    let (url, value) = (written.it.get_field_by_number(1), written.it.get_field_by_number(2));
    let url = url.as_deref().and_then(Value::as_str).unwrap_or_default();
    let bytes = value.as_deref().and_then(Value::as_bytes).cloned().unwrap_or_default();
    let mut map = to.serialize_map(None)?;
    if url.is_empty() && bytes.is_empty() {
        return map.end();
    }
    map.serialize_entry("@type", url)?;
    let inner = packed(&written.it.descriptor(), url, bytes).map_err(S::Error::custom)?;
    let inner = written.of(&inner);
    if inner.it.descriptor().full_name().starts_with("google.protobuf.")
        && has_own_form(&inner.it.descriptor())
    {
        map.serialize_entry("value", &inner)?;
    } else {
        fields(&inner, &mut map)?;
    }
    map.end()
}

/// A wrapper of a number, which may be a negative zero.
fn number<S: Serializer>(written: &Written<&DynamicMessage>, to: S) -> Result<S::Ok, S::Error> {
    match (written.it.get_field_by_number(1), written.it.descriptor().get_field(1)) {
        (Some(value), Some(field)) => written.of((&*value, &field.kind())).serialize(to),
        _ => Err(S::Error::custom("a wrapper has a value")),
    }
}

/// The message in an `Any`.
fn packed(any: &MessageDescriptor, url: &str, bytes: Bytes) -> Result<DynamicMessage, String> {
    let name = url.rsplit_once('/').map_or("", |(_, name)| name);
    let message = any.parent_pool().get_message_by_name(name);
    let message = message.ok_or_else(|| format!("there is no message {name:?} for an Any"))?;
    DynamicMessage::decode(message, bytes).map_err(|error| error.to_string())
}

/// Whether JSON has another form for a message than its fields.
fn has_own_form(message: &MessageDescriptor) -> bool {
    const OWN: [&str; 8] =
        ["Any", "Duration", "Empty", "FieldMask", "ListValue", "Struct", "Timestamp", "Value"];
    const WRAPPED: [&str; 9] =
        ["Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64"];
    let name = message.name();
    OWN.contains(&name) || name.strip_suffix("Value").is_some_and(|kind| WRAPPED.contains(&kind))
}

fn is_moment(timestamp: &DynamicMessage) -> bool {
    (0..SECOND).contains(&nanos(timestamp))
}

/// Seconds and nanoseconds have the same sign.
fn is_duration(duration: &DynamicMessage) -> bool {
    let seconds = duration.get_field_by_number(1).and_then(|field| field.as_i64()).unwrap_or_default();
    let nanos = nanos(duration);
    nanos.abs() < SECOND && i64::from(nanos.signum()) * seconds.signum() >= 0
}

fn nanos(message: &DynamicMessage) -> i32 {
    message.get_field_by_number(2).and_then(|field| field.as_i32()).unwrap_or_default()
}

fn fields<M: SerializeMap>(written: &Written<&DynamicMessage>, map: &mut M) -> Result<(), M::Error> {
    let message = written.it;
    for field in message.descriptor().fields() {
        let always = written.form.defaults && !field.supports_presence();
        let value = message.get_field(&field);
        if always || message.has_field(&field) || is_left_out(&field, &value) {
            let name = if written.form.proto_names { field.name() } else { field.json_name() };
            map.serialize_entry(name, &written.of((&*value, &field.kind())))?;
        }
    }
    for (extension, value) in message.extensions() {
        map.serialize_entry(extension.json_name(), &written.of((value, &extension.kind())))?;
    }
    Ok(())
}

impl Serialize for Written<(&Value, &Kind)> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (value, kind) = self.it;
        match value {
            Value::Bool(value) => to.serialize_bool(*value),
            Value::I32(value) => to.serialize_i32(*value),
            Value::U32(value) => to.serialize_u32(*value),
            Value::I64(value) => to.collect_str(value),
            Value::U64(value) => to.collect_str(value),
            Value::F32(value) if value.is_finite() => to.serialize_f32(*value),
            Value::F32(value) => to.serialize_str(no_number(f64::from(*value))),
            Value::F64(value) if value.is_finite() => to.serialize_f64(*value),
            Value::F64(value) => to.serialize_str(no_number(*value)),
            Value::String(text) => to.serialize_str(text),
            Value::Bytes(bytes) => to.serialize_str(&STANDARD.encode(bytes)),
            Value::EnumNumber(number) => self.choice(*number, kind, to),
            Value::Message(message) => self.of(message).serialize(to),
            Value::List(list) => to.collect_seq(list.iter().map(|value| self.of((value, kind)))),
            Value::Map(map) => {
                let Kind::Message(entry) = kind else { return Err(S::Error::custom("a map has entries")) };
                let kind = entry.map_entry_value_field().kind();
                to.collect_map(map.iter().map(|(key, value)| (self.of(key), self.of((value, &kind)))))
            }
        }
    }
}

impl<T> Written<T> {
    /// An enum's value by its name, or by its number where it has none.
    fn choice<S: Serializer>(&self, number: i32, kind: &Kind, to: S) -> Result<S::Ok, S::Error> {
        let Kind::Enum(of) = kind else { return to.serialize_i32(number) };
        if of.full_name() == "google.protobuf.NullValue" {
            return to.serialize_none();
        }
        match of.get_value(number).filter(|_| !self.form.enum_numbers) {
            Some(value) => to.serialize_str(value.name()),
            None => to.serialize_i32(number),
        }
    }
}

fn no_number(float: f64) -> &'static str {
    if float.is_nan() {
        "NaN"
    } else if float.is_sign_positive() {
        "Infinity"
    } else {
        "-Infinity"
    }
}

impl Serialize for Written<&MapKey> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.it {
            MapKey::Bool(key) => to.collect_str(key),
            MapKey::I32(key) => to.collect_str(key),
            MapKey::I64(key) => to.collect_str(key),
            MapKey::U32(key) => to.collect_str(key),
            MapKey::U64(key) => to.collect_str(key),
            MapKey::String(key) => to.serialize_str(key),
        }
    }
}
