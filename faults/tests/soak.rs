//! The short form of the soak, and the words of the command.

use std::process::Command;

fn faults(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_faults")).args(arguments).output().expect("it was built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_minute_of_load_and_faults_leaves_nothing_behind() {
    let (well, text) = faults(&["soak", "--minutes", "1"]);
    assert!(well && text.starts_with("0 of "), "{text}");
}

#[test]
fn a_row_is_played_and_told_to_machines() {
    let (well, text) = faults(&["run", "18", "--output", "json"]);
    assert!(well && text.contains("\"row\": \"18\"") && text.contains("0 carried out twice"), "{text}");
    assert!(!faults(&["run", "200"]).0, "there is no such row");
}
