//! Every example does what it says.

use std::process::{Command, Stdio};

use examples::broker::Broker;

/// Runs an example and gives what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the example was built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} ended with {}:\n{text}{errors}", output.status);
    text
}

#[test]
fn a_tonic_service_takes_the_layers() {
    assert_eq!(run(env!("CARGO_BIN_EXE_tonic_layers"), &[]), "Hello John\n");
}

#[test]
fn an_axum_router_takes_the_layers() {
    let text = run(env!("CARGO_BIN_EXE_axum_layers"), &[]);
    let left: u32 = text.split_whitespace().nth(1).and_then(|ms| ms.parse().ok()).expect(&text);
    assert!((1..=501).contains(&left), "{text}");
}

#[test]
fn bare_hyper_takes_the_layers() {
    let text = run(env!("CARGO_BIN_EXE_hyper_layers"), &[]);
    assert!(text.starts_with("request id of ") && !text.contains(" 4 "), "{text}");
}

#[test]
fn a_client_is_built_step_by_step() {
    assert_eq!(run(env!("CARGO_BIN_EXE_client_stack"), &[]), "100 of 100 calls were answered\n");
}

#[test]
fn a_plain_http_client_survives_a_server() {
    assert_eq!(run(env!("CARGO_BIN_EXE_plain_http"), &[]), "200 answers, from a and b\n");
}

#[test]
fn a_policy_of_ones_own_decides() {
    let text = run(env!("CARGO_BIN_EXE_own_policy"), &[]);
    let first: u32 = text.split_whitespace().next().and_then(|count| count.parse().ok()).expect(&text);
    assert!((900..=966).contains(&first), "{text}");
}

#[test]
fn a_run_that_cannot_be_says_so_and_ends() {
    for (arguments, why) in [
        (&["--broker", "nats://127.0.0.1:4222"][..], "a broker is for --transport nats or rabbitmq"),
        (&["--transport", "nats", "--broker", "amqp://127.0.0.1"], "is no broker for this transport"),
        // Nothing listens there, so no replica can.
        (&["--transport", "nats", "--broker", "nats://127.0.0.1:1"], "a replica ended by itself"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_greeter")).args(arguments).output();
        let output = output.expect("the example was built");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_replica_ends_when_whoever_started_it_is_gone() {
    let registry = tempfile::tempdir().expect("a directory can be made");
    let mut replica = Command::new(env!("CARGO_BIN_EXE_greeter"))
        .args(["replica", "left", "--attended"])
        .env("MICRO_REGISTRY", format!("file:{}", registry.path().display()))
        .stdin(Stdio::piped())
        .spawn()
        .expect("the example was built");
    drop(replica.stdin.take());
    assert_eq!(replica.wait().expect("it ends").code(), Some(1));
}

#[test]
fn no_call_fails_while_replicas_are_killed_slowed_down_and_restarted() {
    no_call_fails(&[]);
}

#[test]
fn nor_in_memory() {
    no_call_fails(&["--transport", "memory"]);
}

#[test]
fn nor_over_nats() {
    let Some(broker) = Broker::or_skip(Broker::nats()) else { return };
    no_call_fails(&["--transport", "nats", "--broker", broker.url()]);
}

#[test]
fn nor_over_rabbitmq() {
    let Some(broker) = Broker::or_skip(Broker::rabbitmq()) else { return };
    no_call_fails(&["--transport", "rabbitmq", "--broker", broker.url()]);
}

fn no_call_fails(transport: &[&str]) {
    let program = env!("CARGO_BIN_EXE_greeter");
    let text = run(program, &[&["--plain", "--seconds", "8", "--rate", "300"], transport].concat());
    let last = text.lines().last().expect("a summary");
    assert!(last.contains(" failed=0 p50="), "{text}");
    for step in ["one call of each kind", "SIGKILL", "started again", "50 ms", "as fast as before", "SIGTERM"]
    {
        assert!(text.contains(step), "no step \"{step}\" in\n{text}");
    }
}
