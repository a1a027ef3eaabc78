//! Keeps records in Consul, tagged as go-micro's, so that either finds the other's services; services that anyone else
//! registered there are found too.
//!
//! Agents are used one at a time: when the one in use fails, the next one is asked. Watches are blocking queries,
//! <https://developer.hashicorp.com/consul/api-docs/features/blocking>.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use self::agents::{Agents, Scope};
use self::catalog::Catalog;
use self::checks::Checks;
use self::registration::Probe;
use self::tls::{Connector, Tls};
use self::watcher::Watcher;
use crate::invalid::{Invalid, quoted};
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};
use crate::url::Url;

mod agents;
mod catalog;
mod checks;
mod exchange;
mod ids;
mod registration;
mod tags;
mod tls;
mod watcher;

const BACKEND: &str = "consul";

/// A registry in Consul. Clones share what they know.
///
/// An endpoint counts unless one of its checks is critical. A service that is silent for its TTL becomes critical at
/// once, and is removed by Consul a minute or more later. A watch goes on believing in those whose TTL has merely run out
/// for a second, as an agent that froze still has their renewals before it; and for ten seconds after an agent that did not
/// answer is back, as it took none.
#[derive(Clone)]
pub struct Consul {
    catalog: Catalog,
    checks: Arc<Checks>,
}

/// How to reach the agents; [`build`](Self::build) makes the registry.
#[must_use = "a builder does nothing before build"]
pub struct ConsulBuilder {
    agents: Vec<String>,
    scope: Scope,
    passing_only: bool,
    probe: Option<Probe>,
    tls: Option<Tls>,
}

impl Consul {
    /// The agents to use, each `host:port` or `host`, whose port is then 8500, or 8501 over TLS. Nothing is connected
    /// before it is first used.
    pub fn builder<A: Into<String>>(agents: impl IntoIterator<Item = A>) -> ConsulBuilder {
        let agents = agents.into_iter().map(Into::into).collect();
        ConsulBuilder { agents, scope: Scope::default(), passing_only: false, probe: None, tls: None }
    }

    /// What follows `consul://` or `consuls://`: `h1:8500,h2?token=…&dc=…&ns=…&passing&check=tcp&ca=/ca.pem`.
    pub(crate) fn parse(rest: &str, tls: bool) -> Result<Self, Error> {
        configured(Url::parse(rest), tls).map_err(invalid)?.build()
    }
}

const OPTIONS: &str = "token, dc, ns, passing, check, path, interval, ca, cert, key";

fn configured(mut url: Url, tls: bool) -> Result<ConsulBuilder, Invalid> {
    if url.user.is_some() || url.password.is_some() || !url.path.is_empty() {
        return Err(Invalid::new("a user or a path: a token is given as in consul://host?token=…"));
    }
    let mut builder = Consul::builder(std::mem::take(&mut url.hosts));
    builder.scope.token = url.take("token");
    builder.scope.datacenter = url.take("dc");
    builder.scope.namespace = url.take("ns");
    builder.passing_only = url.take("passing").is_some();
    let interval = url.seconds("interval")?.unwrap_or(Duration::from_secs(5));
    let path = url.take("path").unwrap_or_else(|| "/".to_owned());
    builder = match url.take("check").as_deref() {
        None | Some("ttl") => builder,
        Some("tcp") => builder.tcp_check(interval),
        Some("http") => builder.http_check(path, interval),
        Some(kind) => {
            return Err(Invalid::new(format!("check {}: it is none of ttl, tcp, http", quoted(kind))));
        }
    };
    if tls {
        builder = builder.tls();
    }
    if let Some(authority) = url.file("ca")? {
        builder.tls.get_or_insert_default().authority = Some(authority);
    }
    if let Some(identity) = url.identity()? {
        builder.tls.get_or_insert_default().identity = Some(identity);
    }
    url.end(OPTIONS)?;
    Ok(builder)
}

fn invalid(what: Invalid) -> Error {
    Error::Invalid { backend: BACKEND, what }
}

impl ConsulBuilder {
    /// Shows this ACL token with every request.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.scope.token = Some(token.into());
        self
    }

    /// Finds services in this datacenter instead of the agent's. Announcements stay with the agent.
    pub fn datacenter(mut self, datacenter: impl Into<String>) -> Self {
        self.scope.datacenter = Some(datacenter.into());
        self
    }

    /// Finds and announces in this namespace (Consul Enterprise).
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.scope.namespace = Some(namespace.into());
        self
    }

    /// Leaves out endpoints with a check in the state `warning`, too, which are [degraded](crate::Endpoint::degraded) else.
    pub fn passing_only(mut self) -> Self {
        self.passing_only = true;
        self
    }

    /// Has the agent connect to each announced endpoint this often, instead of waiting for renewals.
    pub fn tcp_check(mut self, interval: Duration) -> Self {
        self.probe = Some(Probe::Tcp { interval });
        self
    }

    /// Has the agent get `path` from each announced endpoint this often, instead of waiting for renewals.
    pub fn http_check(mut self, path: impl Into<String>, interval: Duration) -> Self {
        self.probe = Some(Probe::Http { path: path.into(), interval });
        self
    }

    /// Encrypts, and trusts the certificate authorities of the system.
    pub fn tls(mut self) -> Self {
        self.tls.get_or_insert_default();
        self
    }

    /// Encrypts, and trusts this certificate authority, in PEM, instead of the system's.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().authority = Some(pem.into().into());
        self
    }

    /// Encrypts, and shows this certificate with its key, in PEM.
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().identity = Some((certificate.into().into(), key.into().into()));
        self
    }

    /// The registry.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is no agent, one is no `host:port`, the token is no header, or a certificate is
    /// none.
    pub fn build(self) -> Result<Consul, Error> {
        let checks = Arc::new(Checks::new(self.probe));
        let port = if self.tls.is_some() { 8501 } else { 8500 };
        let agents = || {
            let hosts =
                self.agents.iter().map(|agent| with_port(agent, port)).collect::<Result<Vec<_>, _>>()?;
            let tls = self.tls.map(Connector::new).transpose()?;
            Agents::new(hosts, self.scope, tls)
        };
        Ok(Consul { catalog: Catalog::new(Arc::new(agents().map_err(invalid)?), self.passing_only), checks })
    }
}

/// `host:port` of an agent given with or without its port.
fn with_port(agent: &str, port: u16) -> Result<String, Invalid> {
    let bracketed = agent.starts_with('[') && agent.ends_with(']');
    let text = if bracketed || !agent.contains(':') { format!("{agent}:{port}") } else { agent.to_owned() };
    let place = || format!("agent {}", quoted(agent));
    let address: crate::Address = text.parse().map_err(|error: Invalid| error.at(place()))?;
    match (address.scheme(), address.host(), address.port()) {
        ("http", Some(_), Some(_)) => Ok(address.authority().to_owned()),
        _ => Err(Invalid::new("it is not host:port").at(place())),
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul").field("agents", &self.catalog.agents().hosts()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ConsulBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulBuilder").field("agents", &self.agents).finish_non_exhaustive()
    }
}

impl Registry for Consul {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            self.checks.put(&self.catalog, &service, ttl).await.map_err(|trouble| trouble.cannot("announce"))
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            self.checks.remove(&self.catalog, &service).await.map_err(|trouble| trouble.cannot("withdraw"))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async move {
            let names = self.catalog.names().await.map_err(|trouble| trouble.cannot("list services"))?;
            let services = stream::iter(names).map(|name| async move { self.catalog.get(&name).await });
            let services: Vec<_> = services
                .buffered(8)
                .try_collect()
                .await
                .map_err(|trouble: agents::Trouble| trouble.cannot("list services"))?;
            Ok(services.into_iter().flatten().collect())
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            check_service_name(&name).map_err(invalid)?;
            self.catalog.get(&name).await.map_err(|trouble| trouble.cannot("read the records"))
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        match check_service_name(name) {
            Ok(()) => {
                let watcher = Watcher::new(self.catalog.clone(), name.to_owned());
                stream::unfold(watcher, Watcher::next).boxed()
            }
            Err(what) => stream::iter([Err(invalid(what))]).boxed(),
        }
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

/// Reads tags as those of a service.
#[cfg(any(test, fuzzing))]
pub(crate) fn probe(tags: &[String]) {
    let _ = (tags::whole(tags), tags::version(tags), tags::labels(tags), tags::methods(tags));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_agents_and_never_tells_the_token() {
        let consul = Consul::parse("h1:1,h2?token=hunter2&dc=eu&ns=team&passing", false).unwrap();
        let shown = format!("{consul:?}");
        assert!(shown.contains("h1:1") && shown.contains("h2:8500") && !shown.contains("hunter2"), "{shown}");
        assert!(format!("{:?}", Consul::parse("h", true).unwrap()).contains("h:8501"));
        for check in ["ttl", "tcp&interval=9", "http&path=/health"] {
            Consul::parse(&format!("h?check={check}"), false).unwrap();
        }
    }

    #[test]
    fn a_url_that_names_no_agent_or_an_unknown_option_is_refused() {
        let refused = [
            "",
            ",",
            "h:0",
            "unix:/x",
            "h/path",
            "me@h",
            "h?color=red",
            "h?token=a%0ab",
            "h?check=icmp",
            "h?check=tcp&interval=x",
            "h?ca=/no/such/file",
            "h?ca=/dev/null",
            "h?cert=/dev/null",
        ];
        for url in refused {
            assert!(matches!(Consul::parse(url, false), Err(Error::Invalid { .. })), "{url}");
        }
    }
}
