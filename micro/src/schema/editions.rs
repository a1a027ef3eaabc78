//! Says in the words of proto3 what a file says in those of an edition, which the parser does not know.
//!
//! What counts for reading and writing messages is kept: which fields have presence, are packed, are groups. What
//! only counts for the code that others generate is not, nor is that an enum is closed.

use std::collections::HashSet;
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};

use super::error::Error;

/// The part of `descriptor.proto` that editions are about. The rest of a file stays as it is, unknown here.
const PART: &str = "
    syntax = 'proto2';
    message File {
      repeated Type message_type = 4; repeated Field extension = 7;
      optional FileOptions options = 8; optional string syntax = 12; optional int32 edition = 14;
    }
    message Type {
      optional string name = 1; repeated Field field = 2; repeated Type nested_type = 3;
      repeated Field extension = 6; optional TypeOptions options = 7; repeated Oneof oneof_decl = 8;
    }
    message Field {
      optional string name = 1; optional int32 label = 4; optional int32 type = 5; optional string type_name = 6;
      optional FieldOptions options = 8; optional int32 oneof_index = 9; optional bool proto3_optional = 17;
    }
    message Oneof { optional string name = 1; }
    message FileOptions { optional Features features = 50; }
    message TypeOptions { optional bool map_entry = 7; optional Features features = 12; }
    message FieldOptions { optional bool packed = 2; optional Features features = 21; }
    message Features {
      optional int32 field_presence = 1; optional int32 repeated_field_encoding = 3;
      optional int32 message_encoding = 5;
    }";

static FILE: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let parsed =
        protox::file::File::from_source("part.proto", PART).expect("a text of ours that a test reads");
    let mut pool = DescriptorPool::new();
    let file = parsed.file_descriptor_proto().clone();
    pool.add_file_descriptor_proto(file).expect("a text of ours that a test reads");
    pool.get_message_by_name("File").expect("a text of ours that a test reads")
});

// Numbers of descriptor.proto.
const EDITION_2023: i32 = 1000;
const EDITION_2024: i32 = 1001;
const IMPLICIT: i32 = 2;
const EXPANDED: i32 = 2;
const DELIMITED: i32 = 2;
const REPEATED: i32 = 3;
const OPTIONAL: i32 = 1;
const GROUP: i32 = 10;
const MESSAGE: i32 = 11;

/// The features in force at some place. Zero is what an edition says itself: explicit, packed, length-prefixed.
#[derive(Clone, Copy, Default)]
struct Features {
    presence: i32,
    repeated: i32,
    message: i32,
}

/// The bytes of a file in proto2 or proto3, whatever it was in.
pub(super) fn lower(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let broken = |error: prost::DecodeError| Error::Invalid {
        what: "not a file".to_owned(),
        source: Some(error.into()),
    };
    let syntax = Syntax::decode(bytes).map_err(broken)?;
    if syntax.syntax != "editions" {
        return Ok(bytes.to_vec());
    }
    if !(EDITION_2023..=EDITION_2024).contains(&syntax.edition) {
        let (name, edition) = (syntax.name, syntax.edition);
        return Err(Error::invalid(format!("{name} is in edition {edition}; 2023 and 2024 are known here")));
    }
    let mut file = DynamicMessage::decode(FILE.clone(), bytes).map_err(broken)?;
    let features = Features::default().overlaid(&file);
    each(&mut file, "message_type", |message| message_type(message, features));
    each(&mut file, "extension", |field| _ = outline(field, features, &HashSet::new()));
    file.set_field_by_name("syntax", Value::String("proto3".to_owned()));
    file.clear_field_by_name("edition");
    Ok(file.encode_to_vec())
}

#[derive(Clone, PartialEq, Message)]
struct Syntax {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "12")]
    syntax: String,
    #[prost(int32, tag = "14")]
    edition: i32,
}

fn message_type(message: &mut DynamicMessage, outer: Features) {
    let features = outer.overlaid(message);
    let mut entries = HashSet::new();
    each(message, "nested_type", |nested| {
        if is_entry(nested) {
            entries.insert(text(nested, "name"));
        }
        message_type(nested, features);
    });
    each(message, "extension", |field| _ = outline(field, features, &entries));
    if is_entry(message) {
        return;
    }
    let mut with_presence = HashSet::new();
    each(message, "field", |field| {
        if outline(field, features, &entries) {
            with_presence.insert(text(field, "name"));
        }
    });
    oneofs(message, &with_presence);
}

/// Gives each of the fields `names` an oneof of its own: how proto3 says that a field has presence.
fn oneofs(message: &mut DynamicMessage, names: &HashSet<String>) {
    let Some(kind) = message.descriptor().get_field_by_name("oneof_decl") else { return };
    let prost_reflect::Kind::Message(oneof) = kind.kind() else { return };
    let before = message.get_field(&kind).as_list().map_or(0, <[Value]>::len);
    let mut added = Vec::new();
    each(message, "field", |field| {
        let name = text(field, "name");
        if names.contains(&name) {
            let index = i32::try_from(before + added.len()).unwrap_or(i32::MAX);
            field.set_field_by_name("oneof_index", Value::I32(index));
            field.set_field_by_name("proto3_optional", Value::Bool(true));
            let mut decl = DynamicMessage::new(oneof.clone());
            decl.set_field_by_name("name", Value::String(format!("_{name}")));
            added.push(Value::Message(decl));
        }
    });
    if let Some(decls) = message.get_field_by_name_mut("oneof_decl").and_then(Value::as_list_mut) {
        decls.extend(added);
    }
}

/// Says how the field is encoded. Whether it is to be given presence.
fn outline(field: &mut DynamicMessage, outer: Features, entries: &HashSet<String>) -> bool {
    let features = outer.overlaid(field);
    let (label, kind) = (number(field, "label"), number(field, "type"));
    let type_name = text(field, "type_name");
    let is_map = label == REPEATED && entries.contains(type_name.rsplit('.').next().unwrap_or_default());
    if kind == MESSAGE && features.message == DELIMITED && !is_map {
        field.set_field_by_name("type", Value::I32(GROUP));
    }
    if label == REPEATED {
        if features.repeated == EXPANDED
            && let Some(options) = field.get_field_by_name_mut("options").and_then(Value::as_message_mut)
        {
            options.set_field_by_name("packed", Value::Bool(false));
        }
        return false;
    }
    // A field that must be there is told apart from others by presence alone.
    field.set_field_by_name("label", Value::I32(OPTIONAL));
    features.presence != IMPLICIT && kind != MESSAGE && !field.has_field_by_name("oneof_index")
}

impl Features {
    /// These, and over them what the options of `message` say.
    fn overlaid(self, message: &DynamicMessage) -> Self {
        let Some(options) = message.get_field_by_name("options") else { return self };
        let Some(own) = options.as_message().and_then(|o| o.get_field_by_name("features")) else {
            return self;
        };
        let Some(own) = own.as_message() else { return self };
        let or = |name, outer| if own.has_field_by_name(name) { number(own, name) } else { outer };
        Self {
            presence: or("field_presence", self.presence),
            repeated: or("repeated_field_encoding", self.repeated),
            message: or("message_encoding", self.message),
        }
    }
}

fn each(message: &mut DynamicMessage, field: &str, mut change: impl FnMut(&mut DynamicMessage)) {
    // Asking for a field to change it would write one that is not there.
    if message.has_field_by_name(field)
        && let Some(list) = message.get_field_by_name_mut(field).and_then(Value::as_list_mut)
    {
        list.iter_mut().filter_map(Value::as_message_mut).for_each(&mut change);
    }
}

fn is_entry(message: &DynamicMessage) -> bool {
    let options = message.get_field_by_name("options");
    let entry = options.as_ref().and_then(|o| o.as_message()?.get_field_by_name("map_entry")?.as_bool());
    entry == Some(true)
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn number(message: &DynamicMessage, field: &str) -> i32 {
    message.get_field_by_name(field).and_then(|v| v.as_i32()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use prost_reflect::Cardinality;
    use serde_json::json;

    use super::*;
    use crate::schema::pool;

    /// What protoc writes for a file of edition 2023:
    /// `message M { string a = 1; string b = 2 [features.field_presence = IMPLICIT]; repeated int32 c = 3
    /// [features.repeated_field_encoding = EXPANDED]; M d = 4 [features.message_encoding = DELIMITED];
    /// map<string, M> e = 5; oneof f { string g = 6; } string h = 7 [features.field_presence = LEGACY_REQUIRED];
    /// repeated int32 i = 8; }`, and the file is DELIMITED.
    fn edition(edition: i32) -> Vec<u8> {
        let field = |name: &str, number: i32, label: i32, kind: i32| json!({"name": name, "number": number, "label": label, "type": kind});
        let with = |mut field: serde_json::Value, key: &str, value: serde_json::Value| {
            field[key] = value;
            field
        };
        let features = |name: &str, value: i32| json!({"features": {name: value}});
        let (m, entry) = (json!(".p.M"), json!(".p.M.EEntry"));
        let entries = json!({"name": "EEntry", "options": {"map_entry": true}, "field": [
            field("key", 1, 1, 9), with(field("value", 2, 1, 11), "type_name", m.clone())]});
        let d = with(field("d", 4, 1, 11), "type_name", m.clone());
        let message = json!({"name": "M", "oneof_decl": [{"name": "f"}], "nested_type": [entries], "field": [
            field("a", 1, 1, 9),
            with(field("b", 2, 1, 9), "options", features("field_presence", 2)),
            with(field("c", 3, 3, 5), "options", features("repeated_field_encoding", 2)),
            with(d, "options", features("message_encoding", 1)),
            with(field("e", 5, 3, 11), "type_name", entry),
            with(field("g", 6, 1, 9), "oneof_index", json!(0)),
            with(field("h", 7, 1, 9), "options", features("field_presence", 3)),
            field("i", 8, 3, 5),
            with(field("j", 9, 1, 11), "type_name", m)]});
        let file = json!({"name": "m.proto", "package": "p", "syntax": "editions", "edition": edition,
            "message_type": [message], "options": features("message_encoding", 2)});
        let strings = "optional string name = 1; optional string package = 2; optional string syntax";
        let numbered = PART
            .replace("optional string syntax", strings)
            .replace("optional int32 label", "optional int32 number = 3; optional int32 label");
        let whole = protox::file::File::from_source("whole.proto", &numbered).unwrap();
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_proto(whole.file_descriptor_proto().clone()).unwrap();
        let whole = pool.get_message_by_name("File").unwrap();
        DynamicMessage::deserialize(whole, file).unwrap().encode_to_vec()
    }

    #[test]
    fn presence_packing_and_groups_survive_the_way_from_an_edition() {
        for year in [EDITION_2023, EDITION_2024] {
            let pool = pool::build(&[edition(year)]).unwrap();
            let message = pool.get_message_by_name("p.M").unwrap();
            let field = |name: &str| message.get_field_by_name(name).unwrap();
            let presence: String =
                message.fields().filter(|f| f.supports_presence()).map(|f| f.name().to_owned()).collect();
            assert_eq!(presence, "adghj");
            assert!(!field("c").is_packed() && field("i").is_packed());
            assert!(!field("d").is_group() && field("j").is_group() && field("e").is_map());
            assert_eq!(field("h").cardinality(), Cardinality::Optional);
            assert_eq!(field("g").containing_oneof().unwrap().name(), "f");
            assert!(field("a").containing_oneof().unwrap().is_synthetic());
        }
    }

    #[test]
    fn an_edition_that_is_not_known_is_named() {
        let error = pool::build(&[edition(1002)]).unwrap_err().to_string();
        assert!(error.contains("m.proto is in edition 1002; 2023 and 2024 are known here"), "{error}");
    }

    #[test]
    fn a_file_without_editions_stays_as_it_is() {
        let file = prost_types::FileDescriptorProto { syntax: Some("proto3".into()), ..Default::default() };
        assert_eq!(lower(&file.encode_to_vec()).unwrap(), file.encode_to_vec());
    }
}
