//! One Consul agent that is its own server.

use std::{process::Command, time::Duration};

use tempfile::TempDir;

use super::{Process, answers, directory, free_ports, has, is_soon, wait_until};

#[derive(Debug)]
pub(crate) struct Consul {
    pub(crate) agent: Process,
    pub(crate) port: u16,
    /// Where it talks TLS, if it was given a certificate.
    pub(crate) https: u16,
    _directory: TempDir,
}

impl Consul {
    /// An agent that has elected itself, or none where consul is missing.
    pub(crate) fn start() -> Option<Self> {
        let started = Self::with(&serde_json::json!({}))?;
        started.wait_for_leader();
        Some(started)
    }

    /// The same, with more settings: one that is led, and perhaps hides its services from strangers.
    pub(crate) fn with(settings: &serde_json::Value) -> Option<Self> {
        // A port that was free a moment ago may be somebody's by now: then it is never led.
        has("consul").then(|| {
            let started =
                std::iter::repeat_with(|| Self::try_with(settings.clone())).take(3).flatten().next();
            started.expect("one of three agents is led in time")
        })
    }

    fn try_with(mut settings: serde_json::Value) -> Option<Self> {
        let directory = directory();
        let [http, server, lan, dns, grpc, tls] = free_ports();
        let https = if settings.get("cert_file").is_some() { i32::from(tls) } else { -1 };
        settings["ports"] = serde_json::json!({
            "http": http, "server": server, "serf_lan": lan, "serf_wan": -1, "dns": dns, "grpc": grpc,
            "https": https,
        });
        settings["disable_update_check"] = true.into();
        let config = directory.path().join("config.json");
        std::fs::write(&config, settings.to_string()).unwrap();
        let mut command = Command::new("consul");
        command.args(["agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-node", "t"]);
        command.args(["-log-level", "err", "-config-file"]).arg(config);
        let started = Self { agent: Process::start(command), port: http, https: tls, _directory: directory };
        let is_led = || answers(http, "/v1/status/leader", "\"127.0.0.1:");
        is_soon(Duration::from_secs(30), is_led).then_some(started)
    }

    pub(crate) fn wait_for_leader(&self) {
        let health = "/v1/health/service/consul?passing";
        wait_until("Consul has a leader", || {
            answers(self.port, health, "\"ServiceID\"") || answers(self.port, health, "\"ID\"")
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("consul://127.0.0.1:{}", self.port)
    }
}
