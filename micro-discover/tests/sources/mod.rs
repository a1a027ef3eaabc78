//! What the tables of tests are held to.
#![allow(unreachable_pub, reason = "each table is a crate of its own")]

use std::path::Path;

/// All sources below `directory`, as one text.
pub fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    text
}
