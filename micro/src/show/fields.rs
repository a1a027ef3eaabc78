//! A choice of fields out of replies that are data.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::command::{Failure, Kind};
use crate::near::closest;

/// A row with the fields that were chosen, in that order.
#[derive(Debug)]
pub(super) struct Row<'a>(pub(super) Vec<(&'a str, Value)>);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The rows of `value`, a list or one, with `fields` of each; dots lead into objects, and into each one of a list.
pub(super) fn pick<'a>(value: &Value, fields: &'a [String]) -> Result<Vec<Row<'a>>, Failure> {
    let rows = match value {
        Value::Array(rows) => rows.as_slice(),
        one => std::slice::from_ref(one),
    };
    for field in fields {
        if !rows.is_empty() && rows.iter().all(|row| find(row, field).is_none()) && has_keys(rows) {
            return Err(missing(rows, field));
        }
    }
    let row = |row: &Value| {
        Row(fields.iter().map(|name| (name.as_str(), find(row, name).unwrap_or_default())).collect())
    };
    Ok(rows.iter().map(row).collect())
}

/// Every field of the rows in the JSON `text`, a list or one, in the order in which they are written.
pub(super) fn all(text: &str) -> Vec<String> {
    let rows: Vec<Keys> = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(text).map(|one| vec![one]))
        .unwrap_or_default();
    let mut names = Vec::new();
    for key in rows.into_iter().flat_map(|row| row.0) {
        if !names.contains(&key) {
            names.push(key);
        }
    }
    names
}

/// The keys of an object, in their order: a [`Value`] sorts them.
#[derive(Default)]
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, IgnoredAny)) = map.next_entry()? {
            self.0.push(key);
        }
        Ok(self)
    }
}

/// A value as a cell: text as it is, lists of it with commas, everything else as JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(texts) if texts.iter().all(Value::is_string) => {
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn find(row: &Value, field: &str) -> Option<Value> {
    // A key may have dots itself.
    row.get(field).cloned().or_else(|| follow(row, &field.split('.').collect::<Vec<_>>()))
}

fn follow(value: &Value, way: &[&str]) -> Option<Value> {
    match (way, value) {
        ([], _) => Some(value.clone()),
        (_, Value::Array(each)) => {
            let found: Vec<_> = each.iter().filter_map(|one| follow(one, way)).collect();
            (!found.is_empty()).then_some(Value::Array(found))
        }
        ([part, rest @ ..], _) => follow(value.get(part)?, rest),
    }
}

fn has_keys(rows: &[Value]) -> bool {
    rows.iter().any(|row| row.as_object().is_some_and(|row| !row.is_empty()))
}

fn missing(rows: &[Value], field: &str) -> Failure {
    let names: BTreeSet<_> = rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()).collect();
    let failure = Failure::new(Kind::Usage, format!("there is no field {field:?}"));
    match closest(field, names.iter().map(|name| name.as_str())) {
        Some(like) => failure.hint(format!("--fields {like}")),
        None => {
            let names: Vec<_> = names.into_iter().map(String::as_str).collect();
            failure.hint(format!("--fields {}", names.join(",")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_picked_in_the_order_asked_for_and_a_wrong_one_is_named() {
        let value = json!([{"name": "a", "at": {"zone": "eu"}, "n": 1}, {"name": "b"}]);
        let fields = ["at.zone".to_owned(), "name".to_owned()];
        let rows = pick(&value, &fields).unwrap();
        let text = serde_json::to_string(&rows).unwrap();
        assert_eq!(text, r#"[{"at.zone":"eu","name":"a"},{"at.zone":null,"name":"b"}]"#);
        let lists = json!([{"to": [{"at": "h:1"}, {"at": "h:2"}, {}]}, {"to": []}]);
        let fields = ["to.at".to_owned()];
        let text = serde_json::to_string(&pick(&lists, &fields).unwrap()).unwrap();
        assert_eq!(text, r#"[{"to.at":["h:1","h:2"]},{"to.at":null}]"#);
        assert!(pick(&lists, &["to.it".to_owned()]).is_err());
        let failure = pick(&value, &["nme".to_owned()]).unwrap_err();
        assert_eq!(failure.what_to_try(), Some("--fields name"));
        assert!(pick(&json!([]), &["x".to_owned()]).unwrap().is_empty());
    }

    #[test]
    fn fields_come_in_the_order_in_which_they_are_written_and_lists_as_people_write_them() {
        assert_eq!(all(r#"[{"b":{"x":1},"a":[2]},{"c":null,"b":3}]"#), ["b", "a", "c"]);
        assert_eq!(all(r#"{"z":1,"a":2}"#), ["z", "a"]);
        assert!(all("7").is_empty() && all("[]").is_empty());
        assert_eq!(cell(&json!(["1", "2"])), "1,2");
        assert_eq!(cell(&json!([{"a": 1}])), r#"[{"a":1}]"#);
    }
}
