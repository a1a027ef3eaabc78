//! gRPC of Python, from PyPI, in a virtual environment of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PACKAGES: [&str; 4] = ["grpcio", "grpcio-tools", "grpcio-health-checking", "grpcio-reflection"];

/// An interpreter that knows gRPC, and the code generated of our `.proto` files.
pub(crate) struct Grpcio {
    python: PathBuf,
    code: PathBuf,
}

/// Installs it, once for all runs. `None`, said aloud, where there is no pip or no network; with `CI=true` that is
/// a failure, for nothing is proven by a test that did not run.
pub(crate) fn install() -> Option<Grpcio> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grpcio");
    let (python, code) = (home.join("bin/python3"), home.join("code"));
    if !home.join("complete").exists() {
        // What a run that was broken off has left.
        let _ = std::fs::remove_dir_all(&home);
        if let Err(why) = fill(&home, &python) {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no grpcio by pip: {why}");
            println!("skipped: no grpcio by pip: {why}");
            return None;
        }
    }
    generate(&python, &code);
    Some(Grpcio { python, code })
}

fn fill(home: &Path, python: &Path) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv"]).arg(home))?;
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES))?;
    std::fs::write(home.join("complete"), "").map_err(|error| error.to_string())
}

fn generate(python: &Path, code: &Path) {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    std::fs::create_dir_all(code).expect("there is room for a directory");
    let out = |kind| format!("--{kind}_out={}", code.display());
    let mut command = Command::new(python);
    command.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto).args([out("python"), out("grpc_python")]);
    for file in [
        "interop/empty",
        "interop/messages",
        "interop/test",
        "xds/data/orca/v3/orca_load_report",
        "xds/service/orca/v3/orca",
    ] {
        command.arg(proto.join(file).with_extension("proto"));
    }
    run(&mut command).expect("the interfaces are compiled");
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&text)))
}

impl Grpcio {
    pub(crate) fn run_cases(&self, address: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/cases.py");
        let output = run(Command::new(&self.python).arg(script).arg(address).arg(&self.code));
        let text = output.unwrap_or_else(|failures| panic!("{failures}")).stdout;
        println!("{}", String::from_utf8_lossy(&text));
    }
}
