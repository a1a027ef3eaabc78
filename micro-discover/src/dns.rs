//! Endpoints from DNS: SRV records, or addresses at a known port.

mod pace;
mod query;
mod stub;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use tokio::time::sleep;

use self::pace::Pace;
use self::query::{Answer, Failure, resolve, resolver};
use crate::invalid::{Invalid, quoted};
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry};

/// Names that DNS answers for, as a registry to read.
///
/// With a [`port`](Self::port), a service's endpoints are the A and AAAA records of its name; without, they are its SRV
/// records, whose priority and weight they take (DNS says weight 0 for "rarely": here that is 1).
///
/// A watch asks again when the answer's TTL is over, kept within [`ttl`](Self::ttl), over TCP when an answer is
/// too large for UDP, and sends at most 4 queries in any second. A name server that fails, or suddenly knows
/// nothing of a name that had endpoints, is an error: the last good set stands. A name that never had any is empty.
#[derive(Clone, Debug)]
#[must_use]
pub struct Dns {
    server: Option<SocketAddr>,
    name: Option<String>,
    port: Option<u16>,
    ttl: (Duration, Duration),
    shared: Arc<Shared>,
}

/// What clones have in common.
#[derive(Debug, Default)]
struct Shared {
    pace: Pace,
    /// Names that had endpoints.
    known: Mutex<HashMap<String, Vec<Service>>>,
}

const BACKEND: &str = "dns";

impl Default for Dns {
    fn default() -> Self {
        Self::new()
    }
}

impl Dns {
    /// Asks the name servers of this machine, whichever those are by then, for SRV records.
    pub fn new() -> Self {
        let ttl = (Duration::from_secs(1), Duration::from_secs(60));
        Self { server: None, name: None, port: None, ttl, shared: Arc::default() }
    }

    /// Asks the name server at `address` instead of those of this machine.
    pub fn server(mut self, address: SocketAddr) -> Self {
        self.server = Some(address);
        self.shared = Arc::default();
        self
    }

    /// Answers every service name with what DNS knows of `name`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self.shared = Arc::default();
        self
    }

    /// Asks for addresses, A and AAAA, instead of SRV records; endpoints are at `port`.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port).filter(|port| *port != 0);
        self.shared = Arc::default();
        self
    }

    /// Sets the bounds of the time between two questions, whatever TTL the answer has: 1 s to 60 s when nothing is
    /// said. The least is 1 s.
    pub fn ttl(mut self, floor: Duration, ceiling: Duration) -> Self {
        let floor = floor.max(Duration::from_secs(1));
        self.ttl = (floor, ceiling.max(floor));
        self
    }

    /// Reads `127.0.0.1:53/greeter.shop.svc?port=80`: every part may be left out.
    pub(crate) fn parse(rest: &str) -> Result<Self, Error> {
        parse(rest).map_err(|what| Error::Invalid { backend: BACKEND, what })
    }

    fn checked(&self, name: &str) -> Result<String, Error> {
        let asked = self.name.as_deref().unwrap_or(name);
        check_service_name(name)
            .and_then(|()| check_domain(asked))
            .map_err(|what| Error::Invalid { backend: BACKEND, what })?;
        Ok(asked.to_owned())
    }

    /// The set of `name`, and how long it holds.
    async fn ask(&self, name: &str, domain: &str) -> Result<(Vec<Service>, Duration), Error> {
        let at = self.server.map(|server| format!(" at {server}")).unwrap_or_default();
        let failed = |failure: Failure| Error::Unavailable {
            backend: BACKEND,
            what: format!("resolve {domain}{at}"),
            source: failure.into(),
        };
        let resolver = resolver(self.server).map_err(failed)?;
        let answer = resolve(&resolver, &self.shared.pace, domain, self.port).await.map_err(failed)?;
        let (floor, ceiling) = self.ttl;
        let mut known = self.shared.known.lock().expect("nothing under this lock can panic");
        match answer {
            Answer::Endpoints { endpoints, ttl } => {
                let mut record = Service::new(name);
                record.endpoints = endpoints;
                known.insert(name.to_owned(), vec![record.clone()]);
                Ok((vec![record], ttl.clamp(floor, ceiling)))
            }
            Answer::Nothing if known.contains_key(name) => Err(failed(Failure::Vanished)),
            Answer::Nothing => Ok((Vec::new(), Duration::from_secs(5).clamp(floor, ceiling))),
        }
    }
}

impl Registry for Dns {
    fn announce(&self, _: &Service, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::Unsupported { backend: BACKEND, what: "be announced to" }) })
    }

    fn withdraw(&self, _: &Service) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::Unsupported { backend: BACKEND, what: "be withdrawn from" }) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async { Err(Error::Unsupported { backend: BACKEND, what: "list names" }) })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            let domain = self.checked(&name)?;
            self.ask(&name, &domain).await.map(|(set, _)| set)
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let domain = match self.checked(name) {
            Ok(domain) => domain,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let (this, name) = (self.clone(), name.to_owned());
        stream::unfold(Duration::ZERO, move |wait| {
            let (this, name, domain) = (this.clone(), name.clone(), domain.clone());
            async move {
                sleep(wait).await;
                Some(match this.ask(&name, &domain).await {
                    Ok((set, ttl)) => (Ok(set), ttl),
                    Err(error) => (Err(error), this.ttl.0),
                })
            }
        })
        .boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

fn parse(rest: &str) -> Result<Dns, Invalid> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (server, name) = path.split_once('/').unwrap_or((path, ""));
    let mut dns = Dns::new();
    if !server.is_empty() {
        let at = server.parse().or_else(|_| server.parse().map(|ip| SocketAddr::new(ip, 53)));
        dns =
            dns.server(at.map_err(|_| Invalid::new(format!("server {} is no IP address", quoted(server))))?);
    }
    if !name.is_empty() {
        check_domain(name)?;
        dns = dns.name(name);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("port", text)) => {
                let port = text.parse().ok().filter(|port| *port != 0);
                let wrong = || Invalid::new(format!("port {} is not in 1..=65535", quoted(text)));
                dns = dns.port(port.ok_or_else(wrong)?);
            }
            _ => return Err(Invalid::new(format!("{} is not port=…", quoted(pair)))),
        }
    }
    Ok(dns)
}

/// Labels of 1 to 63 letters, digits, dashes and underscores.
fn check_domain(name: &str) -> Result<(), Invalid> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(fits);
    if name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label) {
        return Ok(());
    }
    Err(Invalid::new("it is no domain name").at(quoted(name)))
}
