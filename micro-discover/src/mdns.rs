//! A registry on the local network without a server: who announces a service answers for it over multicast DNS.

mod hosts;
mod names;
mod owner;
mod packet;
mod query;
mod sockets;
mod text;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use tokio::task::JoinSet;

use self::names::Domain;
use self::owner::Owner;
use self::query::{Watcher, ask};
use self::sockets::{Sockets, interfaces};
use crate::beliefs::Memory;
use crate::follow::sets;
use crate::invalid::{Invalid, quoted};
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};
use crate::url::Url;

const BACKEND: &str = "mdns";
const DOMAIN: &str = "micro";
const PORT: u16 = 5353;

/// A registry without a place: whoever announces a service answers for it on the local network, in the words of
/// go-micro's default registry, so that either finds the other's services. Clones share what they announce.
///
/// It speaks IPv4 multicast on every interface that leads out of this machine, or within it where there is none; what
/// comes from another network is ignored. Answers are waited for at least 250 ms. Others believe in an endpoint for its
/// TTL after they last heard of it, and in one that has none, as go-micro's, until it has left three questions
/// unanswered, which is half a minute. A record may have 60 000 bytes once packed. There is no proof of who says what:
/// use it where everyone on the network may announce services.
#[derive(Clone)]
pub struct Mdns {
    shared: Arc<Shared>,
}

struct Shared {
    owner: Arc<Owner>,
    interface: Option<String>,
    port: u16,
    memory: Memory,
    open: Mutex<Option<Open>>,
}

/// Sockets, and the tasks that read them until this is dropped.
struct Open {
    sockets: Arc<Sockets>,
    tasks: JoinSet<()>,
}

/// Why nothing could be sent.
#[derive(Debug, thiserror::Error)]
#[error("the network cannot be used")]
struct Trouble(#[from] io::Error);

impl Trouble {
    fn cannot(self, what: &str) -> Error {
        Error::Unavailable { backend: BACKEND, what: what.to_owned(), source: self.into() }
    }
}

impl Default for Mdns {
    fn default() -> Self {
        Self::new()
    }
}

impl Mdns {
    /// Tells services in the domain `micro`, as go-micro does since v1.10, and hears of them there and in `local`.
    /// Nothing is sent before it is first used.
    pub fn new() -> Self {
        let domains = Domain::told_and_heard(DOMAIN).expect("the domain is short and plain");
        Self::with(domains, None, PORT)
    }

    /// What follows `mdns:`: `?domain=local&interface=eth0&port=5353`.
    pub(crate) fn parse(rest: &str) -> Result<Self, Error> {
        parse(Url::parse(rest)).map_err(invalid)
    }

    fn with(domains: (Domain, Vec<Domain>), interface: Option<String>, port: u16) -> Self {
        let (owner, memory) = (Arc::new(Owner::new(domains)), Memory::default());
        Self { shared: Arc::new(Shared { owner, interface, port, memory, open: Mutex::default() }) }
    }
}

fn parse(mut url: Url) -> Result<Mdns, Invalid> {
    if url.hosts != [""] || !url.path.is_empty() {
        return Err(Invalid::new("a host: the local network has none to ask, as in mdns:"));
    }
    let domains = Domain::told_and_heard(url.take("domain").as_deref().unwrap_or(DOMAIN))?;
    let interface = url.take("interface");
    if interface.as_ref().is_some_and(|name| name.is_empty() || name.chars().any(char::is_control)) {
        return Err(Invalid::new("interface: it is no name of one"));
    }
    let port = match url.take("port").map(|text| text.parse().map_err(|_| text)) {
        None => PORT,
        Some(Ok(port @ 1..)) => port,
        Some(Ok(0)) => return Err(Invalid::new("port 0 is not in 1..=65535")),
        Some(Err(text)) => return Err(Invalid::new(format!("port {}: it is no number", quoted(&text)))),
    };
    url.end("domain, interface, port")?;
    Ok(Mdns::with(domains, interface, port))
}

fn invalid(what: Invalid) -> Error {
    Error::Invalid { backend: BACKEND, what }
}

impl Shared {
    /// The sockets, opened anew when the interfaces have changed or the runtime that read them is gone.
    fn sockets(&self) -> Result<Arc<Sockets>, Trouble> {
        let now = interfaces(self.interface.as_deref())?;
        let mut open = self.open.lock().expect("nothing under this lock can panic");
        if let Some(open) = &mut *open
            && open.sockets.interfaces == now
            && open.tasks.try_join_next().is_none()
        {
            return Ok(open.sockets.clone());
        }
        let sockets = Arc::new(Sockets::open(now, self.port)?);
        let mut tasks = JoinSet::new();
        for at in 0..sockets.all().len() {
            let (owner, sockets) = (self.owner.clone(), sockets.clone());
            tasks.spawn(async move { owner.serve(&sockets, at).await });
        }
        *open = Some(Open { sockets: sockets.clone(), tasks });
        Ok(sockets)
    }
}

impl fmt::Debug for Mdns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { interface, port, .. } = &*self.shared;
        f.debug_struct("Mdns").field("interface", interface).field("port", port).finish_non_exhaustive()
    }
}

impl Registry for Mdns {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let (service, shared) = (service.clone(), &self.shared);
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            let news = shared.owner.prepare(&service, ttl).await.map_err(invalid)?;
            let put = async { Ok(shared.owner.put(&*shared.sockets()?, news).await?) };
            put.await.map_err(|trouble: Trouble| trouble.cannot("announce"))
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let (service, shared) = (service.clone(), &self.shared);
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            // What is not ours to answer for any more is not, even if nobody can be told.
            shared.owner.forget(&service);
            let tell = async { Ok(shared.owner.say_gone(&*shared.sockets()?, &service).await?) };
            tell.await.map_err(|trouble: Trouble| trouble.cannot("withdraw"))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            let found = ask(&self.shared, None).await;
            Ok(found.map_err(|trouble| trouble.cannot("ask for services"))?.services())
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            check_service_name(&name).map_err(invalid)?;
            let found = ask(&self.shared, Some(&name)).await;
            Ok(found.map_err(|trouble| trouble.cannot("ask for the endpoints"))?.services())
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        if let Err(what) = check_service_name(name) {
            return stream::iter([Err(invalid(what))]).boxed();
        }
        sets(Watcher::new(self.shared.clone(), name.to_owned()))
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

/// Reads a message as everybody's.
#[cfg(any(test, fuzzing))]
pub(crate) fn probe(bytes: &[u8]) {
    let (_, heard) = Domain::told_and_heard("micro").expect("it is a plain domain");
    let _ = packet::read(bytes, &heard);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_domain_an_interface_and_a_port_or_is_refused() {
        for url in ["", "?domain=local", "?interface=lo&port=5454&domain=shop.internal"] {
            Mdns::parse(url).unwrap();
        }
        for url in
            ["h", "h:1", "/path", "?domain=", "?domain=a..b", "?domain=a b", "?interface=", "?port=0", "?x"]
        {
            assert!(matches!(Mdns::parse(url), Err(Error::Invalid { .. })), "{url}");
        }
    }
}
