//! The OpenAPI document beside what the sidecar does, by Schemathesis.

use std::process::Command;

use crate::face::Face;
use crate::program::Place;
use crate::venv;

/// It sends some hundred requests, and waits for each stream that does not end until a request is too late.
#[test]
fn schemathesis_finds_nothing() {
    let Some(python) = venv::schemathesis() else { return };
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &["--broker", "memory:"]);
    let mut command = Command::new(python);
    command.args(["-m", "schemathesis.cli", "run", "--phases", "examples,coverage,fuzzing"]);
    // Which names are names is the registry's and the broker's to say, and none of the document's.
    command.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
    command.args(["--seed", "1", "-n", "3", "--request-timeout", "5", "--warnings", "off", "--no-color"]);
    command.arg(format!("http://{}/openapi.json", face.address)).current_dir(place.path(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
