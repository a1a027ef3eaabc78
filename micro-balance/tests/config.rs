//! What a configuration may say, and what it is told when it says something else.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::time::Duration;

use micro_balance::config::{self, Invalid};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(deserialize_with = "config::choice")]
    shape: Shape,
    #[serde(default, deserialize_with = "config::maybe_duration")]
    wait: Option<Duration>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Shape {
    Circle(Circle),
    Line(Line),
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Circle {
    #[serde(deserialize_with = "config::percent")]
    percent: u32,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Line {}

fn read(text: &str) -> Result<Settings, Invalid> {
    config::read(toml::Deserializer::parse(text).unwrap())
}

#[test]
fn a_name_alone_takes_all_defaults_and_a_table_changes_some() {
    assert_eq!(read("shape = \"line\"").unwrap().shape, Shape::Line(Line {}));
    assert_eq!(read("shape = \"circle\"").unwrap().shape, Shape::Circle(Circle { percent: 0 }));
    assert_eq!(read("[shape.circle]\npercent = 7").unwrap().shape, Shape::Circle(Circle { percent: 7 }));
    assert_eq!(read("shape = \"line\"\nwait = \"250ms\"").unwrap().wait, Some(Duration::from_millis(250)));
}

#[test]
fn what_is_wrong_is_named_by_the_path_to_its_key() {
    for (text, key, why) in [
        ("shape = \"square\"", "shape", "circle"),
        ("[shape.square]", "shape.square", "circle"),
        ("[shape.circle]\npercent = 101", "shape.circle.percent", "0 to 100"),
        ("[shape.circle]\nprecent = 1", "shape.circle.precent", "precent"),
        ("shape = \"line\"\nwait = \"soon\"", "wait", "soon"),
        ("shape = \"line\"\nwait = 10", "wait", "string"),
        ("shape = \"line\"\nweight = 10", "weight", "weight"),
        ("shape = { circle = {}, line = {} }", "shape", "more than one"),
        ("shape = 3", "shape", "a name"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.key().starts_with(key) && error.to_string().contains(why), "{text}: {error}");
    }
    let error = config::read::<Settings, _>(json!({ "shape": { "circle": { "percent": -1 } } })).unwrap_err();
    assert_eq!(error.key(), "shape.circle.percent");
}
