//! JSON to messages and back, by the rules of ProtoJSON.

use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage};
use serde::{Serialize, Serializer};

use super::write::{Form, Written};
use super::{seldom, strict};

/// Reads and writes messages as JSON, <https://protobuf.dev/programming-guides/json/>: 64-bit integers are strings,
/// enums names, fields in lowerCamelCase and left out at their default. Reading is strict: an unknown field,
/// a trailing comma or anything behind the document is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Json {
    form: Form,
    unknown: bool,
}

/// Why a text is not the JSON of a message.
#[derive(Debug, thiserror::Error)]
#[error("not the JSON of {message}: {source}")]
pub struct JsonError {
    /// The full name of the message's type.
    pub message: String,
    /// What is wrong, with line and column.
    #[source]
    source: serde_json::Error,
}

impl Json {
    /// The canonical form.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether fields at their default are written; false unless set.
    pub fn defaults(mut self, write: bool) -> Self {
        self.form.defaults = write;
        self
    }

    /// Whether fields are named as in the `.proto`; false unless set. Both are read.
    pub fn proto_names(mut self, write: bool) -> Self {
        self.form.proto_names = write;
        self
    }

    /// Whether enums are written as numbers; false unless set. Both are read.
    pub fn enum_numbers(mut self, write: bool) -> Self {
        self.form.enum_numbers = write;
        self
    }

    /// Whether fields that the message does not have are read over; false unless set.
    pub fn allow_unknown(mut self, allow: bool) -> Self {
        self.unknown = allow;
        self
    }

    /// Reads one message, which is all of `text`.
    ///
    /// # Errors
    ///
    /// [`JsonError`].
    pub fn read(&self, message: &MessageDescriptor, text: &[u8]) -> Result<DynamicMessage, JsonError> {
        let options = DeserializeOptions::new().deny_unknown_fields(!self.unknown);
        let read = || {
            if strict::check(message, &mut serde_json::Deserializer::from_slice(text))? {
                return seldom::read(message, serde_json::from_slice(text)?, &options);
            }
            let mut reader = serde_json::Deserializer::from_slice(text);
            let read = DynamicMessage::deserialize_with_options(message.clone(), &mut reader, &options)?;
            reader.end().map(|()| read)
        };
        read().map_err(|source| JsonError { message: message.full_name().to_owned(), source })
    }

    /// Writes one message, on one line.
    ///
    /// # Errors
    ///
    /// [`JsonError`] for what JSON has no words for, such as an `Any` of an unknown type, a timestamp past 9999,
    /// or a duration whose nanoseconds have the other sign.
    pub fn write(&self, message: &DynamicMessage) -> Result<String, JsonError> {
        let failed = |source| JsonError { message: message.descriptor().full_name().to_owned(), source };
        serde_json::to_string(&Written { it: message, form: self.form }).map_err(failed)
    }

    /// `message` for any serializer, in this form.
    ///
    /// # Errors
    ///
    /// The serializer's, and those of [`write`](Self::write).
    pub fn serialize<S: Serializer>(&self, message: &DynamicMessage, to: S) -> Result<S::Ok, S::Error> {
        Written { it: message, form: self.form }.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::found::tests::schema;

    fn message() -> MessageDescriptor {
        let proto = "syntax = 'proto3'; message M { int64 big_number = 1; E e = 2; repeated string s = 3; }
            enum E { NONE = 0; SOME = 1; }";
        schema(proto).pool().get_message_by_name("M").unwrap()
    }

    #[test]
    fn what_is_written_is_canonical_and_every_choice_changes_one_thing() {
        let read = Json::new().read(&message(), br#"{"big_number":9007199254740993,"e":1}"#).unwrap();
        let write = |json: Json| json.write(&read).unwrap();
        assert_eq!(write(Json::new()), r#"{"bigNumber":"9007199254740993","e":"SOME"}"#);
        let named = Json::new().proto_names(true).enum_numbers(true);
        assert_eq!(write(named), r#"{"big_number":"9007199254740993","e":1}"#);
        assert!(write(Json::new().defaults(true)).ends_with(r#""s":[]}"#));
    }

    #[test]
    fn reading_is_strict_and_says_where_it_failed() {
        let wrong: [&[u8]; 8] = [
            br#"{"no":1}"#,
            br#"{"e":"NEITHER"}"#,
            br#"{"s":["a",]}"#,
            br"{'s':[]}",
            br#"{"s":[]} {}"#,
            br#"{"bigNumber":1.5}"#,
            br#"{"bigNumber":1,"bigNumber":2}"#,
            b"",
        ];
        for text in wrong {
            let error = Json::new().read(&message(), text).unwrap_err().to_string();
            assert!(error.starts_with("not the JSON of M: "), "{error}");
            assert!(error.contains("line 1 column "), "{error}");
        }
        assert!(Json::new().allow_unknown(true).read(&message(), br#"{"no":{"a":[1]}}"#).is_ok());
    }
}
