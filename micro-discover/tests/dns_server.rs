//! The DNS registry against dnsmasq: its records are followed, and the last good set survives it.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use micro_discover::open;

use crate::seen::Seen;
use crate::servers::{Process, directory, free_ports, has};

#[path = "support/seen.rs"]
mod seen;
mod servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn srv_records_of_a_real_server_are_followed_and_kept_while_it_is_gone() {
    if !has("dnsmasq") {
        return;
    }
    let (directory, [port]) = (directory(), free_ports());
    let (hosts, pid) = (directory.path().join("hosts"), directory.path().join("pid"));
    std::fs::write(&hosts, "10.0.0.1 a.shop\n10.0.0.2 b.shop\n").unwrap();
    let mut command = Command::new("dnsmasq");
    // Who runs it stays who it is, so that it can read the file again.
    command.args(["--keep-in-foreground", "--user=root", "--group=root", "--conf-file=/dev/null"]);
    command.args(["--no-resolv", "--no-hosts", "--local=/shop/", "--local-ttl=1", "--bind-interfaces"]);
    command.args(["--listen-address=127.0.0.1", &format!("--port={port}")]);
    command.args([format!("--addn-hosts={}", hosts.display()), format!("--pid-file={}", pid.display())]);
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
