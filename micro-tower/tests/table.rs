//! The table of `tests/README.md` names tests that exist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../micro-discover/tests/sources/mod.rs"]
mod sources;

use std::path::Path;

use sources::sources;

#[test]
fn every_test_that_the_table_names_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(here.join("tests/README.md")).unwrap();
    let sources: String =
        ["micro-tower", "micro-balance", "micro-broker", "micro-build", "micro-discover", "micro"]
            .iter()
            .flat_map(|name| ["src", "tests"].map(|part| here.join("..").join(name).join(part)))
            .map(|directory| sources(&directory))
            .collect();
    let is_test = |name: &&str| {
        let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(part) && name.matches('_').count() > 2
    };
    let names: Vec<&str> = table.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(names.len() > 50, "{}", names.len());
    for name in names {
        let is_there = ["(", "<"].iter().any(|next| sources.contains(&format!("fn {name}{next}")));
        assert!(is_there, "no test is called {name}");
    }
}
