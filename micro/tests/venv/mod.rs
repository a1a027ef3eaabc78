//! Pythons with packages of PyPI, each made once for all tests.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A Python that has grpcio; none where that cannot be, which CI does not allow.
pub(crate) fn grpcio() -> Option<PathBuf> {
    let packages = ["grpcio", "grpcio-reflection", "grpcio-tools"];
    with("grpcio", &packages, "import grpc_tools, grpc_reflection")
}

/// A Python that has Schemathesis; none where that cannot be, which CI does not allow.
pub(crate) fn schemathesis() -> Option<PathBuf> {
    with("schemathesis", &["schemathesis"], "import schemathesis")
}

fn with(name: &str, packages: &[&str], check: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = dir.join("bin/python");
    let quiet = |command: &mut Command| {
        let run = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    // Tests of other processes make the same one.
    let lock = File::create(dir.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let works = || quiet(Command::new(&python).args(["-c", check]));
    if works() {
        return Some(python);
    }
    let made = quiet(Command::new("python3").args(["-m", "venv"]).arg(&dir))
        && quiet(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(packages));
    if made && works() {
        return Some(python);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs python3, venv and pip");
    println!("skipped: no {name} by pip");
    None
}
