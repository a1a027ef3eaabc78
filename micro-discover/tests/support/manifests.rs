//! The manifests that a cluster's user applies.

use std::path::Path;

use serde_json::Value;

/// The documents of a file below `examples/kubernetes`.
pub(crate) fn documents(file: &str) -> Vec<Value> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes").join(file);
    serde_saphyr::from_multiple(&std::fs::read_to_string(place).unwrap()).unwrap()
}
