//! Any of the servers, with or without a login that can be taken away and given back.

use serde_json::{Value, json};

use super::consul::Consul;
use super::etcd::Etcd;
use super::gateway::{answer, post, send};
use super::nats::Nats;
use super::{Process, wait_until};

/// A server, and how a client that only watches logs in.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// As URLs call it.
    pub(crate) scheme: &'static str,
    pub(crate) port: u16,
    /// What the server's refusal is called in an error.
    pub(crate) refusal: &'static str,
    server: Server,
    /// Of whoever may do everything: a password, or Consul's token.
    secret: String,
}

#[allow(clippy::large_enum_variant, reason = "there is one of them")]
#[derive(Debug)]
enum Server {
    Etcd(Etcd),
    Consul(Consul),
    Nats(Nats),
}

/// All kinds of registry on a server.
pub(crate) const SCHEMES: [&str; 4] = ["etcd", "consul", "nats", "nats+kv"];

const RIGHT: &str = "b5f4f0a2-3f0c-4f4e-9c7f-0d1e2f3a4b5c";
const ACCESSOR: &str = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";

impl Guarded {
    /// A server that anyone may use, or none where its program is missing.
    pub(crate) fn open(scheme: &'static str) -> Option<Self> {
        let (port, server) = match scheme {
            "etcd" => Etcd::start().map(|etcd| (etcd.ports[0], Server::Etcd(etcd))),
            "consul" => Consul::start().map(|consul| (consul.port, Server::Consul(consul))),
            _ => Nats::start().map(|nats| (nats.port, Server::Nats(nats))),
        }?;
        Some(Self { scheme, port, refusal: "", server, secret: String::new() })
    }

    /// A server that asks who comes, and takes the watcher.
    pub(crate) fn locked(scheme: &'static str) -> Option<Self> {
        let mut guarded = match scheme {
            "consul" => {
                let acl = json!({"enabled": true, "default_policy": "deny", "token_ttl": "1s"});
                let consul = Consul::with(&json!({ "acl": acl }))?;
                let secret = bootstrap(consul.port);
                let server = Server::Consul(consul);
                Self { scheme, port: 0, refusal: "ACL not found", server, secret }
            }
            "etcd" => Self { refusal: "authentication failed", ..Self::open(scheme)? },
            _ => {
                let nats = Nats::with_settings(&users(RIGHT))?;
                let (server, refusal) = (Server::Nats(nats), "authorization violation");
                Self { scheme, port: 0, refusal, server, secret: "secret".to_owned() }
            }
        };
        guarded.port = match &guarded.server {
            Server::Etcd(etcd) => etcd.ports[0],
            Server::Consul(consul) => consul.port,
            Server::Nats(nats) => nats.port,
        };
        match &guarded.server {
            Server::Etcd(_) => {
                guarded.secret = "secret".to_owned();
                for (user, password) in [("root", "secret"), ("watcher", RIGHT)] {
                    let add = json!({"name": user, "password": password});
                    post(guarded.port, "/v3/auth/user/add", &add.to_string());
                    let grant = json!({"user": user, "role": "root"});
                    post(guarded.port, "/v3/auth/user/grant", &grant.to_string());
                }
                post(guarded.port, "/v3/auth/enable", "{}");
            }
            Server::Consul(_) => {
                let rules = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
                guarded.put("/v1/acl/policy", &json!({"Name": "watch", "Rules": rules}));
                guarded.admit();
            }
            Server::Nats(_) => {}
        }
        Some(guarded)
    }

    /// The server's URL through `port`, as the watcher logs in; as nobody, where no login is asked for.
    pub(crate) fn url(&self, port: u16) -> String {
        self.login("watcher", RIGHT, port)
    }

    /// The server's URL, for whoever may do everything.
    pub(crate) fn admin(&self) -> String {
        self.login(if self.scheme == "etcd" { "root" } else { "admin" }, &self.secret, self.port)
    }

    fn login(&self, user: &str, password: &str, port: u16) -> String {
        let scheme = self.scheme;
        match &self.server {
            _ if self.secret.is_empty() => format!("{scheme}://127.0.0.1:{port}"),
            Server::Consul(_) => format!("{scheme}://127.0.0.1:{port}?token={password}"),
            _ => format!("{scheme}://{user}:{password}@127.0.0.1:{port}"),
        }
    }

    /// The watcher's login is good no more.
    pub(crate) fn refuse(&self) {
        match &self.server {
            Server::Etcd(_) => self.change_password("another"),
            Server::Consul(_) => {
                let headers = format!("x-consul-token: {}\r\n", self.secret);
                send(self.port, &format!("DELETE /v1/acl/token/{ACCESSOR}"), &headers, "");
            }
            Server::Nats(nats) => nats.settle(&users("another")),
        }
    }

    /// The watcher's login is good again.
    pub(crate) fn admit(&self) {
        match &self.server {
            Server::Etcd(_) => self.change_password(RIGHT),
            Server::Consul(_) => {
                let policies = json!([{"Name": "watch"}]);
                let token = json!({"SecretID": RIGHT, "AccessorID": ACCESSOR, "Policies": policies});
                self.put("/v1/acl/token", &token);
            }
            Server::Nats(nats) => nats.settle(&users(RIGHT)),
        }
    }

    fn change_password(&self, password: &str) {
        let login = json!({"name": "root", "password": self.secret});
        let answer = post(self.port, "/v3/auth/authenticate", &login.to_string());
        let token = answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let change = json!({"name": "watcher", "password": password}).to_string();
        send(self.port, "POST /v3/auth/user/changepw", &format!("authorization: {token}\r\n"), &change);
    }

    fn put(&self, path: &str, body: &Value) {
        let headers = format!("x-consul-token: {}\r\n", self.secret);
        send(self.port, &format!("PUT {path}"), &headers, &body.to_string());
    }

    fn process(&mut self) -> &mut Process {
        match &mut self.server {
            Server::Etcd(etcd) => &mut etcd.members[0],
            Server::Consul(consul) => &mut consul.agent,
            Server::Nats(nats) => &mut nats.server,
        }
    }

    pub(crate) fn kill(&mut self) {
        self.process().kill();
    }

    pub(crate) fn restart_dead(&mut self) {
        self.process().restart_dead();
        match &self.server {
            Server::Etcd(etcd) => etcd.wait_for_health(),
            Server::Consul(consul) => consul.wait_for_leader(),
            Server::Nats(nats) => nats.wait(),
        }
    }
}

/// The token of whoever may do everything, once the agent gives it out.
fn bootstrap(port: u16) -> String {
    let mut secret = None;
    wait_until("Consul hands over its first token", || {
        let said = answer(port, "PUT /v1/acl/bootstrap", "", "").unwrap_or_default();
        let token = said.split("\"SecretID\":").nth(1).and_then(|rest| rest.split('"').nth(1));
        secret = token.map(str::to_owned);
        secret.is_some()
    });
    secret.unwrap()
}

/// NATS's settings: who may come, the watcher with this password.
fn users(password: &str) -> String {
    format!(
        "authorization {{ users: [ {{ user: admin, password: \"secret\" }}, \
         {{ user: watcher, password: \"{password}\" }} ] }}\n"
    )
}
