//! `watch` and `register`, as processes: what one announces, the other prints.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A program that ends with the test.
struct Program(Child);

impl Program {
    fn start(path: &str, arguments: &[&str]) -> Self {
        let child = Command::new(path).args(arguments).stdout(Stdio::piped()).spawn();
        Self(child.expect("the example was built"))
    }

    fn lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().expect("it is piped")).lines()
    }

    /// Tells it to stop, and gives whether it ended well.
    fn stop(mut self, signal: Signal) -> bool {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
        self.0.wait().expect("it ends").success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_registered_is_printed_until_it_is_told_to_stop() {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let url = format!("file:{}", directory.path().join("registry").display());
    let mut watch = Program::start(env!("CARGO_BIN_EXE_watch"), &[&url, "greeter"]);
    let mut lines = watch.lines().map(|line| line.expect("it goes on"));
    assert_eq!(lines.next().expect("the first set"), "[]");

    let register =
        |address: &str| Program::start(env!("CARGO_BIN_EXE_register"), &[&url, "greeter", address]);
    let first = register("127.0.0.1:50051");
    assert_eq!(lines.next().expect("one joins"), r#"["127.0.0.1:50051"]"#);
    let second = register("[::1]:1");
    assert_eq!(lines.next().expect("another joins"), r#"["127.0.0.1:50051","[::1]:1"]"#);
    assert!(first.stop(Signal::TERM));
    assert_eq!(lines.next().expect("one leaves"), r#"["[::1]:1"]"#);
    assert!(second.stop(Signal::INT));
    assert_eq!(lines.next().expect("the last leaves"), "[]");
}

#[test]
fn what_cannot_be_registered_or_watched_is_said_and_ends() {
    for (program, arguments, why) in [
        (env!("CARGO_BIN_EXE_watch"), &["redis://h", "greeter"][..], "this build knows memory:, fixed:"),
        (env!("CARGO_BIN_EXE_watch"), &["memory:", "a/b"], "it contains a slash"),
        (env!("CARGO_BIN_EXE_register"), &["fixed://h:1", "greeter", "h:1"], "cannot be announced to"),
        (env!("CARGO_BIN_EXE_register"), &["file:", "greeter", "h"], "it has no port"),
    ] {
        let output = Command::new(program).args(arguments).output().expect("the example was built");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "{program} {arguments:?}: {errors}");
    }
}
