//! Registries on a NATS server: services that answer for themselves, as go-micro's do, or records in a bucket.

mod bucket;
mod link;
mod owned;
mod query;
mod refusals;
mod servers;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};

pub use self::bucket::NatsBucket;
use self::link::Link;
use self::owned::Owned;
use self::query::{Watcher, ask};
use self::servers::Servers;
use self::wire::Subjects;
use crate::beliefs::Memory;
use crate::follow::sets;
use crate::invalid::Invalid;
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};
use crate::url::Url;

const BACKEND: &str = "nats";

/// A registry without a place: whoever announces a service answers for it over NATS, in the words of go-micro, so that
/// either finds the other's services. Clones share their connection and what they announce.
///
/// Others believe in an endpoint for its TTL after they last heard of it, and in one that has none, as go-micro's, until
/// it has left three questions unanswered, which is half a minute. Nothing outlives the process that announced it; for
/// that there is [`NatsBucket`].
#[derive(Clone)]
pub struct Nats {
    shared: Arc<Shared>,
}

struct Shared {
    link: Arc<Link>,
    subjects: Subjects,
    owned: Owned,
    memory: Arc<Memory>,
}

impl Nats {
    /// The servers to use, each `host:port` or `host`, whose port is then 4222, and perhaps `tls://` or
    /// `user:password@` before it. Nothing is connected before it is first used.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is no server or one is no such address.
    pub fn new<S: AsRef<str>>(servers: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        Self::with(Link::new(Servers::new(servers).map_err(invalid)?), Subjects::default())
    }

    /// What follows `nats://`: `user:password@h1:4222,h2?prefix=micro.registry.nats&tls&ca=/ca.pem`.
    pub(crate) fn parse(rest: &str) -> Result<Self, Error> {
        let mut url = Url::parse(rest);
        let mut parts = || {
            if !url.path.is_empty() {
                return Err(Invalid::new("a path: a bucket is opened as nats+kv://host/bucket"));
            }
            let subjects =
                url.take("prefix").map_or_else(|| Ok(Subjects::default()), |p| Subjects::new(&p))?;
            let link = Link::new(Servers::of(&mut url)?);
            url.end("prefix, tls, ca, cert, key")?;
            Ok((link, subjects))
        };
        let (link, subjects) = parts().map_err(invalid)?;
        Self::with(link, subjects)
    }

    fn with(link: Link, subjects: Subjects) -> Result<Self, Error> {
        let link = Arc::new(link);
        let (owned, memory) = (Owned::new(link.clone()), Arc::default());
        Ok(Self { shared: Arc::new(Shared { link, subjects, owned, memory }) })
    }
}

fn invalid(what: Invalid) -> Error {
    Error::Invalid { backend: BACKEND, what }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("servers", &self.shared.link).finish_non_exhaustive()
    }
}

impl Registry for Nats {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let (service, shared) = (service.clone(), &self.shared);
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            let put = async {
                let client = shared.link.client().await?;
                shared.owned.put(&client, &shared.subjects, &service, ttl).await
            };
            put.await.map_err(|trouble| trouble.cannot("announce", &shared.link))
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let (service, shared) = (service.clone(), &self.shared);
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            let remove = async {
                // What is not ours to answer for any more is not, even if nobody can be told.
                shared.owned.forget(&service);
                let client = shared.link.client().await?;
                shared.owned.say_gone(&client, &shared.subjects, &service).await
            };
            remove.await.map_err(|trouble| trouble.cannot("withdraw", &shared.link))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            let found = ask(&self.shared, None).await;
            Ok(found.map_err(|trouble| trouble.cannot("ask for services", &self.shared.link))?.services())
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            check_service_name(&name).map_err(invalid)?;
            let found = ask(&self.shared, Some(&name)).await;
            Ok(found
                .map_err(|trouble| trouble.cannot("ask for the endpoints", &self.shared.link))?
                .services())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_servers_and_never_tells_the_password() {
        let nats = Nats::parse("me:hunter2@h1:1,h2?prefix=micro.registry.nats").unwrap();
        let shown = format!("{nats:?}");
        assert!(shown.contains("h1:1") && shown.contains("h2") && !shown.contains("hunter2"), "{shown}");
        NatsBucket::parse("token@h/services?replicas=3").unwrap();
    }

    #[test]
    fn a_url_that_names_no_server_or_an_unknown_option_is_refused() {
        for url in
            ["", ",", "h:0", "h/path", "h?color=red", "h?prefix=a b", "h?prefix=a.*", "h?ca=/no/such/file"]
        {
            assert!(matches!(Nats::parse(url), Err(Error::Invalid { .. })), "{url}");
        }
        for url in ["", "h/a.b", "h/a/b", "h?replicas=0", "h?prefix=a"] {
            assert!(matches!(NatsBucket::parse(url), Err(Error::Invalid { .. })), "{url}");
        }
    }
}
