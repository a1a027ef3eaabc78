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
use self::checks::{Checks, Probe};
use crate::invalid::{Invalid, quoted};
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};

mod agents;
mod catalog;
mod checks;
mod tags;

const BACKEND: &str = "consul";

/// A registry in Consul. Clones share what they know.
///
/// An endpoint counts unless one of its checks is critical. A service that is silent for its TTL becomes critical at
/// once, and is removed by Consul a minute or more later.
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
}

impl Consul {
    /// The agents to use, each `host:port` or `host`, whose port is then 8500. Nothing is connected before it is
    /// first used.
    pub fn builder<A: Into<String>>(agents: impl IntoIterator<Item = A>) -> ConsulBuilder {
        let agents = agents.into_iter().map(Into::into).collect();
        ConsulBuilder { agents, scope: Scope::default(), passing_only: false, probe: None }
    }

    /// What follows `consul://`: `h1:8500,h2?token=…&dc=…&ns=…&passing`.
    pub(crate) fn parse(rest: &str) -> Result<Self, Error> {
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut builder = Self::builder(hosts.trim_end_matches('/').split(','));
        for option in query.split('&').filter(|option| !option.is_empty()) {
            builder = match option.split_once('=').unwrap_or((option, "")) {
                ("token", token) => builder.token(token),
                ("dc", datacenter) => builder.datacenter(datacenter),
                ("ns", namespace) => builder.namespace(namespace),
                ("passing", "") => builder.passing_only(),
                (name, _) => {
                    let what = format!("option {}: it is none of token, dc, ns, passing", quoted(name));
                    return Err(invalid(Invalid::new(what)));
                }
            };
        }
        builder.build()
    }
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

    /// Leaves out endpoints with a check in the state `warning`, too.
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

    /// The registry.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is no agent, one is no `host:port`, or the token is no header.
    pub fn build(self) -> Result<Consul, Error> {
        let agents = self.agents.iter().map(|agent| with_port(agent)).collect::<Result<Vec<_>, _>>();
        let agents = Arc::new(agents.and_then(|agents| Agents::new(agents, self.scope)).map_err(invalid)?);
        let checks = Arc::new(Checks::new(self.probe));
        Ok(Consul { catalog: Catalog::new(agents, self.passing_only), checks })
    }
}

/// `host:port` of an agent given with or without its port.
fn with_port(agent: &str) -> Result<String, Invalid> {
    let bracketed = agent.starts_with('[') && agent.ends_with(']');
    let text = if bracketed || !agent.contains(':') { format!("{agent}:8500") } else { agent.to_owned() };
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
            Ok(()) => self.catalog.clone().watch(name.to_owned()),
            Err(what) => stream::iter([Err(invalid(what))]).boxed(),
        }
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_agents_and_never_tells_the_token() {
        let consul = Consul::parse("h1:1,h2?token=hunter2&dc=eu&ns=team&passing").unwrap();
        let shown = format!("{consul:?}");
        assert!(shown.contains("h1:1") && shown.contains("h2:8500") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_url_that_names_no_agent_or_an_unknown_option_is_refused() {
        for url in ["", ",", "h:0", "unix:/x", "h/path", "h?color=red", "h?token=a%0ab\n"] {
            assert!(matches!(Consul::parse(url), Err(Error::Invalid { .. })), "{url}");
        }
    }
}
