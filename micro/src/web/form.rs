//! A form for what a method takes: from its descriptor, or from the outline that a record announces.

use maud::{Markup, html};
use micro_discover::Shape;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// One field of a form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    name: String,
    kind: &'static str,
    what: String,
    choices: Vec<String>,
    fields: Vec<Field>,
}

/// Messages within messages are shown this deep; deeper ones are written as JSON.
const DEPTH: usize = 3;
/// A message with more fields than this is written as JSON.
const FIELDS: usize = 100;

/// The fields of a message.
pub(super) fn of_message(message: &MessageDescriptor) -> Vec<Field> {
    message_fields(message, DEPTH)
}

fn message_fields(message: &MessageDescriptor, depth: usize) -> Vec<Field> {
    message.fields().take(FIELDS).map(|field| message_field(&field, depth)).collect()
}

fn message_field(field: &FieldDescriptor, depth: usize) -> Field {
    let what = format!("{}{:?}", if field.is_list() { "repeated " } else { "" }, field.kind());
    let plain = |kind| Field {
        name: field.json_name().to_owned(),
        kind,
        what: what.clone(),
        choices: Vec::new(),
        fields: Vec::new(),
    };
    if field.is_list() || field.is_map() {
        return plain("json");
    }
    match field.kind() {
        Kind::Bool => plain("bool"),
        // Numbers of 64 bits are text in JSON: a browser's numbers are smaller.
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => plain("text"),
        Kind::Double | Kind::Float => plain("number"),
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => plain("number"),
        Kind::String | Kind::Bytes => plain("text"),
        Kind::Enum(choices) => {
            let names = choices.values().take(FIELDS).map(|value| value.name().to_owned());
            Field { choices: names.collect(), ..plain("choice") }
        }
        // What protobuf has a JSON form of its own for is written in that.
        Kind::Message(message) if depth == 0 || message.full_name().starts_with("google.protobuf.") => {
            plain("json")
        }
        Kind::Message(message) => Field { fields: message_fields(&message, depth - 1), ..plain("message") },
    }
}

/// The fields of an outline.
pub(super) fn of_shape(shape: &Shape) -> Vec<Field> {
    shape.values.iter().take(FIELDS).map(|shape| shape_field(shape, DEPTH)).collect()
}

fn shape_field(shape: &Shape, depth: usize) -> Field {
    let kind = match shape.kind.as_str() {
        _ if !shape.values.is_empty() && depth > 0 && !shape.kind.starts_with("[]") => "message",
        "bool" => "bool",
        "int" | "int32" | "uint32" | "float32" | "float64" | "float" | "double" => "number",
        "string" | "bytes" | "[]uint8" | "int64" | "uint64" => "text",
        _ => "json",
    };
    let fields = match kind {
        "message" => shape.values.iter().take(FIELDS).map(|shape| shape_field(shape, depth - 1)).collect(),
        _ => Vec::new(),
    };
    Field { name: shape.name.clone(), kind, what: shape.kind.clone(), choices: Vec::new(), fields }
}

/// The fields as inputs, each of which says where in the message it belongs.
pub(super) fn inputs(fields: &[Field]) -> Markup {
    html! { @for field in fields { (input(field, &[])) } }
}

fn input(field: &Field, above: &[&str]) -> Markup {
    let path: Vec<_> = above.iter().copied().chain([field.name.as_str()]).collect();
    let place = serde_json::json!(path).to_string();
    let about = html! { (field.name) " " span .quiet { (field.what) } };
    html! {
        @match field.kind {
            "message" => fieldset {
                legend { (about) }
                @for field in &field.fields { (input(field, &path)) }
            },
            "bool" => label { (about) input type="checkbox" data-path=(place); },
            "choice" => label { (about)
                select data-path=(place) {
                    option value="" { "" }
                    @for choice in &field.choices { option { (choice) } }
                }
            },
            "number" => label { (about) input type="number" step="any" data-kind="number" data-path=(place); },
            "json" => label { (about) input type="text" data-kind="json" data-path=(place) placeholder="JSON"; },
            _ => label { (about) input type="text" data-path=(place); },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_says_where_it_belongs_and_hostile_names_stay_text() {
        let mut inner = Shape::default();
        (inner.name, inner.kind) = ("\"><script>".to_owned(), "string".to_owned());
        let mut outer = Shape::default();
        (outer.name, outer.kind, outer.values) = ("who".to_owned(), "Person".to_owned(), vec![inner]);
        let mut message = Shape::default();
        message.values = vec![outer];
        let html = inputs(&of_shape(&message)).into_string();
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("<fieldset><legend>who"), "{html}");
    }
}
