//! Programs on go-micro, built with the Go toolchain that is on PATH.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Each program is built once, by the test that comes first.
static BUILT: Mutex<BTreeMap<String, Option<PathBuf>>> = Mutex::new(BTreeMap::new());

/// What v6 is called: but for its name, its programs are those of v5.
const V6: &str = "module micro.test/gomicro\n\ngo 1.24\n\nrequire go-micro.dev/v6 v6.10.0\n";

/// The program of `tests/go` and `tests/go/VERSION` together; none where there is no Go, or no such module.
pub(crate) fn built(version: &str) -> Option<PathBuf> {
    let mut all = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    all.entry(version.to_owned()).or_insert_with(|| build(version)).clone()
}

/// The programs of v5 and v6, as far as there are such modules.
#[allow(dead_code, reason = "some tests ask for one version")]
pub(crate) async fn both() -> Vec<PathBuf> {
    let built = || ["v5", "v6"].into_iter().filter_map(built).collect();
    tokio::task::spawn_blocking(built).await.unwrap()
}

fn build(version: &str) -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        return skipped("go on PATH", false);
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go");
    let place =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{version}", env!("CARGO_PKG_NAME")));
    std::fs::create_dir_all(&place).unwrap();
    let own = source.join(if version == "v6" { "v5" } else { version });
    let files = [&source, &own].map(|directory| std::fs::read_dir(directory).unwrap());
    for file in files.into_iter().flatten().map(Result::unwrap).filter(|file| file.path().is_file()) {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let text = if version == "v6" { text.replace("go-micro.dev/v5", "go-micro.dev/v6") } else { text };
        std::fs::write(place.join(file.file_name()), text).unwrap();
    }
    if version == "v6" {
        std::fs::write(place.join("go.mod"), V6).unwrap();
        std::fs::write(place.join("go.sum"), "").unwrap();
    }
    let mut command = Command::new("go");
    // In the copy, sums that are missing may be added.
    let built = command.current_dir(&place).args(["build", "-mod=mod", "-o", "peer", "."]).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    let refused = ["403 Forbidden", "404 Not Found", "410 Gone"];
    let away = ["no such host", "dial tcp", "i/o timeout", "TLS handshake", "module lookup disabled"];
    let because = |why: &[&str]| {
        let line = said.lines().find(|line| why.iter().any(|why| line.contains(why)))?;
        Some(format!("go-micro {version}: {line}"))
    };
    if built.status.success() {
        Some(place.join("peer"))
    } else if let Some(what) = because(&refused) {
        skipped(&what, true)
    } else if let Some(what) = because(&away) {
        skipped(&what, false)
    } else {
        panic!("go-micro {version}: {said}")
    }
}

/// Says what is missing, which CI allows only where it can be had from nobody.
fn skipped(what: &str, from_nobody: bool) -> Option<PathBuf> {
    assert!(from_nobody || std::env::var("CI").as_deref() != Ok("true"), "CI needs {what}");
    println!("skipped: no {what}");
    None
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
