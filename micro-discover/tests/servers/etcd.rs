//! etcd, alone or as a cluster.

use std::process::Command;

use tempfile::TempDir;

use super::gateway::{answer, post};
use super::{Process, answers, directory, free_ports, has, wait_until};

#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) members: Vec<Process>,
    pub(crate) ports: Vec<u16>,
    /// Where members say in plain HTTP how they are.
    health: Vec<u16>,
    directory: TempDir,
}

impl Etcd {
    /// One member, or none where etcd is missing.
    pub(crate) fn start() -> Option<Self> {
        Self::cluster::<1>()
    }

    /// One member that talks TLS with its clients, as `arguments` say.
    pub(crate) fn over_tls(arguments: &[&str]) -> Option<Self> {
        Self::with::<1>("https", arguments)
    }

    /// One member that forgets who has logged in and is silent for so long, in whole seconds.
    pub(crate) fn forgetting_tokens_after(time: std::time::Duration) -> Option<Self> {
        Self::with::<1>("http", &["--auth-token-ttl", &time.as_secs().to_string()])
    }

    /// `N` members that have elected a leader.
    pub(crate) fn cluster<const N: usize>() -> Option<Self> {
        Self::with::<N>("http", &[])
    }

    fn with<const N: usize>(scheme: &str, arguments: &[&str]) -> Option<Self> {
        has("etcd").then(|| {
            // A port that was free may be another's by the time a member asks for it, which ends then.
            let mut servers = (0..5).map(|_| Self::on_free_ports::<N>(scheme, arguments));
            servers.find_map(|mut server| server.comes_up().then_some(server)).unwrap()
        })
    }

    fn on_free_ports<const N: usize>(scheme: &str, arguments: &[&str]) -> Self {
        let directory = directory();
        let (clients, peers, health) = (free_ports::<N>(), free_ports::<N>(), free_ports::<N>());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<_> =
            peers.iter().enumerate().map(|(n, peer)| format!("m{n}={}", url(*peer))).collect();
        let members = (0..N).map(|n| {
            let mut command = Command::new("etcd");
            let data = directory.path().join(format!("m{n}"));
            command.args(["--name", &format!("m{n}"), "--data-dir"]).arg(data);
            let (client, peer) = (format!("{scheme}://127.0.0.1:{}", clients[n]), url(peers[n]));
            command.args(["--listen-metrics-urls", &url(health[n])]).args(arguments);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &cluster.join(",")]);
            command.args(["--heartbeat-interval", "100", "--election-timeout", "500"]);
            command.args(["--unsafe-no-fsync", "--log-level", "error"]);
            Process::start(command)
        });
        let members = members.collect();
        Self { members, ports: clients.to_vec(), health: health.to_vec(), directory }
    }

    /// Whether all members are well in time; not where one has ended.
    fn comes_up(&mut self) -> bool {
        let mut ended = false;
        wait_until("etcd is healthy, or ends", || {
            ended = self.members.iter_mut().any(Process::has_ended);
            ended || self.health.iter().all(|port| is_healthy(*port))
        });
        !ended
    }

    pub(crate) fn wait_for_health(&self) {
        for port in &self.health {
            wait_until("etcd is healthy", || is_healthy(*port));
        }
    }

    /// Takes a member out of the cluster for good, as an operator does, and puts a new one in its place.
    pub(crate) fn replace_member(&mut self, n: usize) {
        let other = self.ports[(n + 1) % self.ports.len()];
        let said = post(other, "/v3/cluster/member/list", "{}");
        let list: serde_json::Value = serde_json::from_str(said.split_once("\r\n\r\n").unwrap().1).unwrap();
        let name = format!("m{n}");
        let member =
            list["members"].as_array().unwrap().iter().find(|member| member["name"] == *name).unwrap();
        let (id, peer) = (member["ID"].as_str().unwrap(), member["peerURLs"][0].as_str().unwrap());
        // Not before the members have known each other for a few seconds.
        let change = |what: &str, of: serde_json::Value| {
            let (what, of) = (format!("POST /v3/cluster/{what}"), of.to_string());
            let done = || answer(other, &what, "", &of).is_ok_and(|answer| answer.contains(" 200 "));
            wait_until(&what, done);
        };
        change("member/remove", serde_json::json!({ "ID": id }));
        let member = &mut self.members[n];
        wait_until("a member that is removed ends", || member.has_ended());
        std::fs::remove_dir_all(self.directory.path().join(&name)).unwrap();
        change("member/add", serde_json::json!({ "peerURLs": [peer] }));
        member.restart_with(&["--initial-cluster-state", "existing"]);
        self.wait_for_health();
    }

    /// Has lost all that it was told.
    pub(crate) fn set_up_anew(&mut self) {
        self.members.iter_mut().for_each(Process::kill);
        for n in 0..self.members.len() {
            std::fs::remove_dir_all(self.directory.path().join(format!("m{n}"))).unwrap();
        }
        self.members.iter_mut().for_each(Process::restart_dead);
        self.wait_for_health();
    }

    pub(crate) fn url(&self) -> String {
        let members: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("etcd://{}", members.join(","))
    }
}

fn is_healthy(port: u16) -> bool {
    answers(port, "/health", "\"health\":\"true\"")
}
