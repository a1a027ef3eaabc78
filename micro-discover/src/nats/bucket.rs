//! Records in a JetStream key-value bucket: what is announced outlives the process that did, for its TTL.
//!
//! A key is `<service>.<id>`, each with what a key cannot hold as `=` and two hex digits; the value is go-micro's JSON. A
//! record's age is told by the server's clock alone: the time of the message against the time at which the server
//! made our consumer.

mod broom;
mod entries;
mod puts;
mod unreadable;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::{Config, Operation, Store};
use async_nats::jetstream::stream::StorageType;
use async_nats::jetstream::{self, Context, kv};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use self::broom::Broom;
use self::entries::{Watcher, key, read};
use self::puts::Puts;
use super::invalid;
use super::link::{ANSWER, Link, Trouble};
use super::servers::Servers;
use crate::beliefs::{Beliefs, Memory, is_same};
use crate::follow::sets;
use crate::gomicro::decode_said;
use crate::invalid::{Invalid, quoted};
use crate::merge::split;
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};
use crate::url::Url;

/// A registry in a JetStream bucket, which is made if it is not there. Clones share their connection.
///
/// Endpoints expire by their TTL, measured by the server's clock; what has long expired is removed by whoever reads it.
#[derive(Clone)]
pub struct NatsBucket {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    bucket: String,
    replicas: usize,
    memory: Memory,
    broom: Broom,
    puts: Puts,
}

const BUCKET: &str = "micro-registry";
/// How many writes are under way at once.
const WIDTH: usize = 64;

impl NatsBucket {
    /// The bucket `micro-registry` on these servers, given as for [`Nats::new`](super::Nats::new).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is no server or one is no such address.
    pub fn new<S: AsRef<str>>(servers: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        Ok(Self::with(Link::new(Servers::new(servers).map_err(invalid)?), BUCKET, 1))
    }

    /// What follows `nats+kv://`: `user:password@h1:4222,h2/bucket?replicas=3&tls&ca=/ca.pem`.
    pub(crate) fn parse(rest: &str) -> Result<Self, Error> {
        parse(Url::parse(rest)).map_err(invalid)
    }

    fn with(link: Link, bucket: &str, replicas: usize) -> Self {
        let bucket = bucket.to_owned();
        let (memory, broom, puts) = (Memory::default(), Broom::default(), Puts::default());
        Self { shared: Arc::new(Shared { link, bucket, replicas, memory, broom, puts }) }
    }

    async fn found(&self, name: Option<&str>) -> Result<Vec<Service>, Error> {
        let mut beliefs = Beliefs::default();
        let reading = read(&self.shared, name, &mut beliefs).await;
        reading.map_err(|trouble| trouble.cannot("read the records", &self.shared.link))?;
        Ok(beliefs.services())
    }
}

fn parse(mut url: Url) -> Result<NatsBucket, Invalid> {
    let bucket = if url.path.is_empty() { BUCKET.to_owned() } else { std::mem::take(&mut url.path) };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !bucket.chars().all(plain) {
        return Err(Invalid::new(format!(
            "bucket {}: it has more than letters, digits, - and _",
            quoted(&bucket)
        )));
    }
    let replicas = match url.take("replicas").map(|text| text.parse()) {
        None => 1,
        Some(Ok(replicas @ 1..=5)) => replicas,
        Some(_) => return Err(Invalid::new("replicas: it is no number in 1..=5")),
    };
    let link = Link::new(Servers::of(&mut url)?);
    url.end("replicas, tls, ca, cert, key")?;
    Ok(NatsBucket::with(link, &bucket, replicas))
}

fn context(client: &Client) -> Context {
    let mut context = jetstream::new(client.clone());
    context.set_timeout(ANSWER);
    context
}

impl Shared {
    async fn store(&self) -> Result<(Client, Store), Trouble> {
        let client = self.link.client().await?;
        let context = context(&client);
        if let Ok(store) = context.get_key_value(&self.bucket).await {
            return Ok((client, store));
        }
        let config = Config {
            bucket: self.bucket.clone(),
            description: "services and where they are".to_owned(),
            history: 1,
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..Config::default()
        };
        let store = context.create_key_value(config).await.map_err(Trouble::refused)?;
        Ok((client, store))
    }

    async fn put(&self, service: &Service, ttl: Duration) -> Result<(), Trouble> {
        let (_, store) = &self.store().await?;
        let ttl = (!ttl.is_zero()).then_some(ttl);
        let put = |record| self.puts.put(store, record, ttl);
        stream::iter(split(service)).map(put).buffer_unordered(WIDTH).try_collect().await
    }

    async fn remove(&self, service: &Service) -> Result<(), Trouble> {
        self.puts.forget(service);
        match self.remove_once(service).await {
            // It may have been lost over what is there instead.
            Err(_) if unreadable::remove(self, Some(&service.name)).await => self.remove_once(service).await,
            tried => tried,
        }
    }

    async fn remove_once(&self, service: &Service) -> Result<(), Trouble> {
        let (_, store) = &self.store().await?;
        let remove = |record: Service| async move { remove(store, &record).await };
        stream::iter(split(service)).map(remove).buffer_unordered(WIDTH).try_collect().await
    }
}

/// Deletes an endpoint that is still as `record` says, even while others write.
async fn remove(store: &Store, record: &Service) -> Result<(), Trouble> {
    let key = key(&record.name, &record.endpoints[0].id);
    loop {
        let found = store.entry(key.clone()).await.map_err(Trouble::refused)?;
        let Some(kv::Entry { value, revision, operation: Operation::Put, .. }) = found else { return Ok(()) };
        let same = decode_said(&value)
            .is_ok_and(|said| said.service.endpoints.len() == 1 && is_same(&said.service, record));
        if !same {
            return Ok(());
        }
        match store.delete_expect_revision(&key, Some(revision)).await {
            Ok(()) => return Ok(()),
            // Somebody wrote in between, or the server is in trouble: reading again tells which.
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {}
            Err(error) => return Err(Trouble::refused(error)),
        }
    }
}

impl fmt::Debug for NatsBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { link, bucket, .. } = &*self.shared;
        f.debug_struct("NatsBucket").field("servers", link).field("bucket", bucket).finish_non_exhaustive()
    }
}

impl Registry for NatsBucket {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            check_announced(super::BACKEND, &service)?;
            self.shared
                .put(&service, ttl)
                .await
                .map_err(|trouble| trouble.cannot("announce", &self.shared.link))
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            check_announced(super::BACKEND, &service)?;
            self.shared
                .remove(&service)
                .await
                .map_err(|trouble| trouble.cannot("withdraw", &self.shared.link))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async { self.found(None).await })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            check_service_name(&name).map_err(invalid)?;
            self.found(Some(&name)).await
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        if let Err(what) = check_service_name(name) {
            return stream::iter([Err(invalid(what))]).boxed();
        }
        sets(Watcher::new(self.shared.clone(), name.to_owned()))
    }

    fn backend(&self) -> &'static str {
        super::BACKEND
    }
}
