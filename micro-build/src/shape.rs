//! Writes the outline of a message: its fields and theirs.

use protox::prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// A message, its fields, and theirs: deeper than that nobody reads, and a message may hold itself.
const DEPTH: u32 = 2;

/// Rust code that makes the `micro_discover::Shape` of `message`.
pub(crate) fn shape(message: &MessageDescriptor) -> String {
    write(message.name(), message.name(), Some(message), DEPTH)
}

fn write(name: &str, kind: &str, message: Option<&MessageDescriptor>, depth: u32) -> String {
    let mut code = format!("::micro_discover::Shape::new({name:?}, {kind:?})");
    if let (Some(message), Some(depth)) = (message, depth.checked_sub(1)) {
        for field in message.fields() {
            let fields = match field.kind() {
                Kind::Message(message) if !field.is_map() => Some(message),
                _ => None,
            };
            let value = write(field.name(), &kind_of(&field), fields.as_ref(), depth);
            code.push_str(&format!(".value({value})"));
        }
    }
    code
}

/// Go-micro's way to write types: `[]T` for a list, `map[K]V` for a map.
fn kind_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let of = |field: FieldDescriptor| kind_of(&field);
            format!("map[{}]{}", of(entry.map_entry_key_field()), of(entry.map_entry_value_field()))
        }
        Kind::Message(message) if field.is_list() => format!("[]{}", message.name()),
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(it) if field.is_list() => format!("[]{}", it.name()),
        Kind::Enum(it) => it.name().to_owned(),
        scalar if field.is_list() => format!("[]{scalar:?}"),
        scalar => format!("{scalar:?}"),
    }
}
