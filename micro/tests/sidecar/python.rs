//! A program in another language, with nothing but its standard library.

use std::process::{Command, Stdio};

use crate::echo::echo;
use crate::face::Face;
use crate::program::Place;

#[test]
fn a_python_program_registers_is_found_calls_publishes_and_subscribes() {
    let there =
        Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !there {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no python3 on PATH");
        println!("skipped: no python3 on PATH");
        return;
    }
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sidecar/program.py");
    let output =
        Command::new("python3").args([script, &format!("http://{}", face.address)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "registered\nfound\nreached\ncalled\npublished and heard\nderegistered\n");
}
