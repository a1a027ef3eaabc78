//! The examples of events do what they say.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A subscriber in a process of its own, which does not outlive the test.
struct Subscriber {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Subscriber {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sub"));
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).spawn().expect("the example was built");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the subscriber prints text");
        line.trim_end().to_owned()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Publishes ids, one a line, and gives what `pub` printed.
fn publish(arguments: &[&str], ids: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pub"));
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut publisher = command.spawn().expect("the example was built");
    publisher.stdin.take().expect("it is piped").write_all(ids.as_bytes()).expect("pub reads its input");
    let output = publisher.wait_with_output().expect("pub ends");
    assert!(output.status.success(), "pub ended with {}", output.status);
    String::from_utf8(output.stdout).expect("pub prints text")
}

#[test]
fn two_workers_ship_every_order_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_orders")).arg("memory:").output().expect("it was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("orders prints text");
    let orders: BTreeSet<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!((text.lines().count(), orders.len()), (10, 10), "{text}");
}

#[test]
fn help_is_shown_and_what_is_missing_is_a_usage_error() {
    for program in [env!("CARGO_BIN_EXE_pub"), env!("CARGO_BIN_EXE_sub"), env!("CARGO_BIN_EXE_orders")] {
        let run = |arguments: &[&str]| Command::new(program).args(arguments).output().expect("it was built");
        assert!(run(&["--help"]).status.success(), "{program}");
        assert_eq!(run(&["--no-such-flag"]).status.code(), Some(2), "{program}");
    }
    for (program, arguments) in [
        (env!("CARGO_BIN_EXE_pub"), &["memory:"][..]),
        (env!("CARGO_BIN_EXE_sub"), &["memory:", "orders.made", ""]),
    ] {
        let output = Command::new(program).args(arguments).output().expect("it was built");
        assert_eq!(output.status.code(), Some(2), "{program}");
    }
}

#[test]
fn publishing_ends_quietly_where_nobody_reads_what_is_acknowledged() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pub"));
    let command = command.args(["memory:", "orders.made"]).stdin(Stdio::piped());
    let mut publisher =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the example was built");
    drop(publisher.stdout.take());
    publisher.stdin.take().expect("it is piped").write_all(b"a\nb\n").expect("pub reads its input");
    let output = publisher.wait_with_output().expect("pub ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_subscriber_ends_well_when_it_is_told_to_stop() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut subscriber = Subscriber::start(&["memory:", "orders.made", "billing"]);
        assert_eq!(subscriber.line(), "READY");
        kill_process(Pid::from_child(&subscriber.child), signal).expect("it runs");
        let ended = subscriber.child.wait().expect("it ends");
        assert!(ended.success(), "{ended}");
    }
}

#[test]
fn what_is_published_is_got_and_what_fails_is_dead_without_any_server() {
    let registry = tempfile::tempdir().expect("a directory can be made");
    let url = format!("http:?registry=file:{}", registry.path().display());
    let mut subscriber = Subscriber::start(&[&url, "orders.made", "billing"]);
    assert_eq!(subscriber.line(), "READY");
    assert_eq!(publish(&[&url, "orders.made"], "a\npoison\nb\n"), "ACK a\nACK poison\nACK b\n");
    let lines: BTreeSet<String> = (0..3).map(|_| subscriber.line()).collect();
    assert_eq!(lines, BTreeSet::from(["GOT a", "GOT b", "DEAD poison"].map(str::to_owned)));
}
