//! The DNS registry against dnsmasq: its records are followed, and the last good set survives it.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use micro_discover::open;

use crate::seen::Seen;
use crate::servers::{Process, directory, free_ports, has};

#[path = "support/seen.rs"]
mod seen;
mod servers;

/// What dnsmasq serves, on this port: the addresses in the file `hosts`.
fn dnsmasq(directory: &Path, port: u16) -> Command {
    let mut command = Command::new("dnsmasq");
    // Who runs it stays who it is, so that it can read the file again.
    command.args(["--no-daemon", "--conf-file=/dev/null"]);
    command.args(["--no-resolv", "--no-hosts", "--local=/shop/", "--local-ttl=1", "--bind-interfaces"]);
    command.args(["--listen-address=127.0.0.1", &format!("--port={port}")]);
    command.arg(format!("--addn-hosts={}", directory.join("hosts").display()));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn srv_records_of_a_real_server_are_followed_and_kept_while_it_is_gone() {
    if !has("dnsmasq") {
        return;
    }
    let (directory, [port]) = (directory(), free_ports());
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "10.0.0.1 a.shop\n10.0.0.2 b.shop\n").unwrap();
    let mut command = dnsmasq(directory.path(), port);
    command.arg("--srv-host=_grpc._tcp.greeter.shop,a.shop,81,0,5");
    command.arg("--srv-host=_grpc._tcp.greeter.shop,b.shop,82,1,0");
    let mut server = Process::start(command);

    let registry = open(&format!("dns://127.0.0.1:{port}/_grpc._tcp.greeter.shop")).unwrap();
    let seen = Seen::by(&registry);
    seen.until(&["10.0.0.1:81", "10.0.0.2:82"]).await;
    let set = registry.get("greeter").await.unwrap();
    let said: Vec<_> = set[0].endpoints.iter().map(|e| (e.priority, e.weight)).collect();
    assert_eq!(said, [(0, 5), (1, 1)]);
    std::fs::write(&hosts, "10.0.0.1 a.shop\n10.0.0.9 b.shop\n").unwrap();
    server.reload();
    seen.until(&["10.0.0.1:81", "10.0.0.9:82"]).await;

    server.kill();
    seen.until_stale().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(seen.last().unwrap(), ["10.0.0.1:81", "10.0.0.9:82"]);
    std::fs::write(&hosts, "10.0.0.5 a.shop b.shop\n").unwrap();
    server.restart_dead();
    seen.until(&["10.0.0.5:81", "10.0.0.5:82"]).await;
}

/// Its name servers are the ones that a file names which it may change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of the test below, on a machine that looks like another"]
async fn process_on_another_network() {
    let (directory, settings) = (directory(), std::env::var("NAME_SERVERS").unwrap());
    std::fs::write(&settings, "nameserver 127.0.0.9\n").unwrap();
    let registry = open("dns:///a.shop?port=80").unwrap();
    let seen = Seen::by(&registry);
    seen.until_stale().await;
    std::fs::write(directory.path().join("hosts"), "10.0.0.1 a.shop\n").unwrap();
    let _server = Process::start(dnsmasq(directory.path(), 53));
    std::fs::write(&settings, "nameserver 127.0.0.1\n").unwrap();
    seen.until(&["10.0.0.1:80"]).await;
}

#[tokio::test]
async fn a_machine_that_comes_to_another_network_asks_its_name_servers() {
    let namespaces =
        || Command::new("unshare").args(["-Urmn", "true"]).status().is_ok_and(|end| end.success());
    if !has("dnsmasq") || !namespaces() {
        return println!("skipped: a process cannot have name servers of its own here");
    }
    let directory = directory();
    let settings = directory.path().join("resolv.conf");
    std::fs::write(&settings, "").unwrap();
    let start = r#"ip link set lo up && mount --bind "$NAME_SERVERS" /etc/resolv.conf && exec "$0" "$@""#;
    let mut command = Command::new("unshare");
    command.args(["-Urmn", "sh", "-c", start]).arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "process_on_another_network"]).env("NAME_SERVERS", settings);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
