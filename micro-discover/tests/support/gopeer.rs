//! Programs on go-micro, built with the Go toolchain that is on PATH.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program of the module in `tests/go/DIRECTORY`, or none where there is no Go.
pub(crate) fn built(directory: &str, name: &str) -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs go on PATH");
        println!("skipped: no go on PATH");
        return None;
    }
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go").join(directory);
    let mut command = Command::new("go");
    command.current_dir(source).args(["build", "-o"]).arg(&program).arg(".");
    let built = command.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

/// The lines with `wanted` that the program prints, asked until there is one: who is busy answers late.
pub(crate) fn asked(program: &Path, args: &[&str], wanted: &str) -> Vec<String> {
    let start = Instant::now();
    loop {
        let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.contains(wanted)).map(str::to_owned).collect();
        if !lines.is_empty() || start.elapsed() > Duration::from_secs(40) {
            return lines;
        }
    }
}

/// A program that runs until its standard input ends.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(program: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self(command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Ends as a program should.
    pub(crate) fn finish(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
