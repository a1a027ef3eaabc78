//! The table of `tests/README.md` names tests that exist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sources;

use std::path::Path;

use sources::sources;

#[test]
fn every_test_that_the_table_names_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(here.join("tests/README.md")).unwrap();
    let sources = sources(&here.join("src")) + &sources(&here.join("tests"));
    let is_test = |name: &&str| {
        let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '…';
        name.chars().all(part) && (name.ends_with("_…") || name.matches('_').count() > 3)
    };
    let names: Vec<&str> = table.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(names.len() > 80, "{}", names.len());
    for name in names {
        let function = match name.strip_suffix('…') {
            Some(start) => format!("fn {start}"),
            None => format!("fn {name}("),
        };
        assert!(sources.contains(&function), "no test is called {name}");
    }
}
