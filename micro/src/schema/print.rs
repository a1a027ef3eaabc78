//! Descriptors as the text of a `.proto`.

use std::fmt::Write;

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor, Syntax,
};

/// The service, its methods and their kinds.
pub fn service(service: &ServiceDescriptor) -> String {
    let mut text = format!("service {} {{\n", service.name());
    for each in service.methods() {
        let _ = writeln!(text, "  {}", method(&each));
    }
    text + "}\n"
}

/// One line: `rpc Hello(greeter.Request) returns (stream greeter.Response);`.
pub fn method(method: &MethodDescriptor) -> String {
    let side = |stream: bool, message: &MessageDescriptor| {
        format!("{}{}", if stream { "stream " } else { "" }, message.full_name())
    };
    let input = side(method.is_client_streaming(), &method.input());
    let output = side(method.is_server_streaming(), &method.output());
    format!("rpc {}({input}) returns ({output});", method.name())
}

/// The message with all that is declared in it.
pub fn message(descriptor: &MessageDescriptor) -> String {
    let mut text = String::new();
    write_message(descriptor, "", &mut text);
    text
}

/// The enum and its values.
pub fn enumeration(descriptor: &EnumDescriptor) -> String {
    let mut text = String::new();
    write_enum(descriptor, "", &mut text);
    text
}

fn write_message(message: &MessageDescriptor, indent: &str, text: &mut String) {
    let _ = writeln!(text, "{indent}message {} {{", message.name());
    let inner = format!("{indent}  ");
    for nested in message.child_messages().filter(|nested| !nested.is_map_entry()) {
        write_message(&nested, &inner, text);
    }
    for nested in message.child_enums() {
        write_enum(&nested, &inner, text);
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let _ = writeln!(text, "{inner}oneof {} {{", oneof.name());
        for each in oneof.fields() {
            let _ = writeln!(text, "{inner}  {}", field(&each));
        }
        let _ = writeln!(text, "{inner}}}");
    }
    let alone = |field: &FieldDescriptor| field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
    for each in message.fields().filter(alone) {
        let _ = writeln!(text, "{inner}{}", field(&each));
    }
    let _ = writeln!(text, "{indent}}}");
}

fn write_enum(descriptor: &EnumDescriptor, indent: &str, text: &mut String) {
    let _ = writeln!(text, "{indent}enum {} {{", descriptor.name());
    for value in descriptor.values() {
        let _ = writeln!(text, "{indent}  {} = {};", value.name(), value.number());
    }
    let _ = writeln!(text, "{indent}}}");
}

fn field(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.get_field(1), entry.get_field(2));
            let name =
                |field: Option<FieldDescriptor>| field.map_or(String::new(), |field| kind(&field.kind()));
            format!("map<{}, {}>", name(key), name(value))
        }
        other => kind(&other),
    };
    let label = match field.cardinality() {
        Cardinality::Repeated if !field.is_map() => "repeated ",
        Cardinality::Required => "required ",
        _ if field.containing_oneof().is_some_and(|oneof| oneof.is_synthetic()) => "optional ",
        Cardinality::Optional if is_proto2(field) && field.containing_oneof().is_none() => "optional ",
        _ => "",
    };
    format!("{label}{kind} {} = {}{};", field.name(), field.number(), options(field))
}

fn is_proto2(field: &FieldDescriptor) -> bool {
    field.parent_file().syntax() == Syntax::Proto2
}

/// What a caller has to know besides: a name in JSON that is not that of the field, and what it is if it is left out.
fn options(field: &FieldDescriptor) -> String {
    let mut options = Vec::new();
    if let Some(default) = &field.field_descriptor_proto().default_value {
        options.push(match field.kind() {
            Kind::String => format!("default = {default:?}"),
            // It is escaped already.
            Kind::Bytes => format!("default = \"{default}\""),
            _ => format!("default = {default}"),
        });
    }
    if field.json_name() != camel(field.name()) {
        options.push(format!("json_name = {:?}", field.json_name()));
    }
    if options.is_empty() { String::new() } else { format!(" [{}]", options.join(", ")) }
}

/// The name in JSON of a field that says none.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |camel, part| {
        let mut letters = part.chars();
        let upper = letters.next().map(|first| first.to_ascii_uppercase());
        camel + &upper.into_iter().chain(letters).collect::<String>()
    })
}

fn kind(kind: &Kind) -> String {
    let name = match kind {
        Kind::Message(message) => return message.full_name().to_owned(),
        Kind::Enum(descriptor) => return descriptor.full_name().to_owned(),
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Fixed32 => "fixed32",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::found::tests::schema;

    #[test]
    fn what_is_printed_compiles_to_the_same_again() {
        let proto = "syntax = \"proto3\";
message M {
  message In {
    optional int64 a = 1;
  }
  enum E {
    ZERO = 0;
  }
  oneof o {
    string s = 2;
    M.In i = 3;
  }
  repeated M.In list = 1;
  map<string, M.E> map = 4;
}
service S {
  rpc A(M) returns (stream M);
}
";
        let schema = schema(proto);
        let printed =
            message(&schema.pool().get_message_by_name("M").unwrap()) + &service(&schema.services()[0]);
        assert_eq!(format!("syntax = \"proto3\";\n{printed}"), proto);
    }

    #[test]
    fn what_json_calls_a_field_and_takes_for_it_is_said() {
        let proto = "syntax = \"proto2\";
message M {
  oneof o {
    string in_one = 5;
  }
  required string a_name = 1;
  optional int32 b = 2 [default = 7];
  optional string _c_2d = 3 [default = \"x \\\"y\\\"\", json_name = \"see\"];
  repeated bytes d = 4;
}
";
        let schema = schema(proto);
        let printed = message(&schema.pool().get_message_by_name("M").unwrap());
        assert_eq!(format!("syntax = \"proto2\";\n{printed}"), proto);
    }
}
