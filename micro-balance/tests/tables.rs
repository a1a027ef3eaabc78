//! Every table that others publish of a policy is read by a test, or it stands here why it is not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use serde_json::Value;

/// Tables of what we do not have, or do otherwise, and why.
///
/// `murmur3_httplb.json` is not among the data at all: no policy of ours hashes by it.
const NOT_OURS: [(&str, &str, &str); 6] = [
    ("finagle.json", "admission", "ours is the throttle of Google's SRE book"),
    ("finagle.json", "backup_requests", "hedges after a percentile are held to by `hedge.rs`"),
    ("finagle.json", "jmh", "figures of another machine"),
    ("finagle.json", "panic_mode", "panic is Envoy's: by the part that is well, not by picks in vain"),
    ("grpc_ringhash.json", "picker", "by states of connections; a ring of ours has who is ready"),
    ("grpc_ringhash.json", "random_hash", "the same"),
];

/// What a file says of itself.
const ABOUT: [&str; 3] = ["source", "sources", "verified"];

/// All that is written in Rust in a folder and below it, by file.
fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// Whether there is a number in it to hold anything to: what is all words is read by people.
fn is_table(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(is_table),
        Value::Object(map) => map.values().any(is_table),
        other => other.is_number(),
    }
}

/// The tables of each file, by its name and theirs.
fn tables(folder: &Path) -> Vec<(String, String)> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(Value::Object(file)) = serde_json::from_str(&fs::read_to_string(&path).unwrap()) else {
            continue;
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        let is = |(key, value): &(String, Value)| !ABOUT.contains(&key.as_str()) && is_table(value);
        tables.extend(file.into_iter().filter(is).map(|(key, _)| (name.to_owned(), key)));
    }
    tables
}

#[test]
fn every_table_is_read_by_a_test_or_said_not_to_be_ours() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rust = Vec::new();
    for folder in ["src", "tests"] {
        sources(&here.join(folder), &mut rust);
    }
    let read = |(file, table): &(String, String)| {
        let (file, table) = (format!("data/{file}\""), format!("\"{table}\""));
        rust.iter().any(|text| text.contains(&file) && text.contains(&table))
    };
    let (_, unread): (Vec<_>, Vec<_>) = tables(&here.join("tests/data")).into_iter().partition(read);
    let said: Vec<_> =
        NOT_OURS.iter().map(|(file, table, _)| (file.to_string(), table.to_string())).collect();
    let missing: Vec<_> = unread.iter().filter(|table| !said.contains(table)).collect();
    assert!(missing.is_empty(), "no test reads {missing:#?}");
    let stale: Vec<_> = said.iter().filter(|table| !unread.contains(table)).collect();
    assert!(stale.is_empty(), "read after all, or gone: {stale:#?}");
}

#[test]
fn every_test_that_the_guide_names_exists() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // A crate that is tested by itself has no guide beside it.
    let Ok(page) = fs::read_to_string(all.join("docs/policies-tests.md")) else { return };
    let mut rust = Vec::new();
    for package in ["micro-balance", "micro-tower", "micro-discover"] {
        sources(&all.join(package).join("src"), &mut rust);
        sources(&all.join(package).join("tests"), &mut rust);
    }
    let names = page.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
    let exists = |name: &&str| rust.iter().any(|text| text.contains(&format!("fn {name}(")));
    let (found, gone): (Vec<_>, Vec<_>) = names.partition(exists);
    assert!(gone.is_empty(), "gone: {gone:#?}");
    assert!(found.len() > 50, "the page names its tests");
}
