//! The examples do what they say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// The example of a name, which cargo builds beside the tests.
fn example(name: &str) -> Command {
    let here = std::env::current_exe().unwrap();
    let example = here.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(example.is_file(), "cargo builds examples only when it tests the whole package");
    Command::new(example)
}

#[test]
fn two_workers_ship_every_order_once() {
    let output = example("orders").arg("memory:").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let orders: Vec<u32> =
        text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!((orders.len(), orders.iter().collect::<BTreeSet<_>>().len()), (10, 10), "{text}");
}

#[test]
fn pub_acknowledges_every_id_in_order() {
    let mut publisher = example("pub");
    let publisher = publisher.args(["memory:", "t"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut publisher = publisher.spawn().unwrap();
    publisher.stdin.take().unwrap().write_all(b"a\nb\nc\n").unwrap();
    let output = publisher.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ACK a\nACK b\nACK c\n");
}
