//! The brokers that endpoints are called at: one connection to each, shared by all endpoints of a connector.

use std::fmt;

#[cfg(any(feature = "nats", feature = "rabbitmq"))]
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(any(feature = "nats", feature = "rabbitmq"))]
use tokio::sync::OnceCell;
use tower::BoxError;

use super::{io::Stream, target::Target};
#[cfg(feature = "nats")]
use crate::pipe::nats::Nats;
#[cfg(feature = "rabbitmq")]
use crate::pipe::rabbitmq::RabbitMq;
use crate::pipe::url::without_secrets;

/// How endpoints at brokers are reached. Clones share the connections; the last one closes them.
#[derive(Clone, Default)]
pub(super) struct Brokers {
    /// Those that the caller named.
    urls: Vec<String>,
    #[cfg(feature = "nats")]
    nats: Shared<Nats>,
    #[cfg(feature = "rabbitmq")]
    rabbitmq: Shared<RabbitMq>,
}

/// By URL; each is made once, by whoever needs it first.
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
type Shared<T> = Arc<Mutex<HashMap<String, Arc<OnceCell<Arc<T>>>>>>;

impl Brokers {
    pub(super) fn add(&mut self, url: String) {
        self.urls.push(url);
    }

    /// The URL for an address of this kind: the caller's, or else the endpoint's, or else the protocol's own port of
    /// this machine. A name and password are in the caller's only, so they go to nobody else.
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    fn url<'a>(&'a self, target: &'a Target, schemes: &[&str], usual: &'a str) -> &'a str {
        let fits = |url: &&str| url.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme));
        let named = self.urls.iter().map(String::as_str).rfind(fits);
        named.or_else(|| target.broker().filter(fits)).unwrap_or(usual)
    }

    #[cfg(feature = "nats")]
    pub(super) async fn nats(&self, target: &Target) -> Result<Stream, BoxError> {
        let nats = self.nats_for(target).await?;
        Ok(Stream::Broker(Box::new(nats.dial(target.address().authority()).await?)))
    }

    /// The connection to the NATS server that `target` is called at.
    #[cfg(feature = "nats")]
    pub(super) async fn nats_for(&self, target: &Target) -> Result<Arc<Nats>, BoxError> {
        let url = self.url(target, &["nats", "tls"], "nats://127.0.0.1:4222");
        let (connection, url) = (cell(&self.nats, url), url.to_owned());
        // Goes on where this is given up, for the next who asks.
        let nats = tokio::spawn(async move {
            let connected = connection.get_or_try_init(|| Nats::connect(&url)).await;
            connected.cloned().map_err(|source| Unreachable { url: without_secrets(&url), source })
        });
        Ok(nats.await??)
    }

    #[cfg(not(feature = "nats"))]
    pub(super) async fn nats(&self, _: &Target) -> Result<Stream, BoxError> {
        Err("this program was built without the feature `nats`".into())
    }

    #[cfg(feature = "rabbitmq")]
    pub(super) async fn rabbitmq(&self, target: &Target) -> Result<Stream, BoxError> {
        let url = self.url(target, &["amqp", "amqps", "rabbitmq"], "amqp://127.0.0.1:5672");
        let connection = cell(&self.rabbitmq, url);
        let rabbitmq = connection.get_or_try_init(async || RabbitMq::new(url).map(Arc::new)).await?;
        // Goes on where this is given up, for the next who asks.
        let shared = rabbitmq.clone();
        let connected = tokio::spawn(async move { shared.connection().await }).await?;
        let connected = connected.map_err(|source| Unreachable { url: without_secrets(url), source })?;
        Ok(Stream::Broker(Box::new(rabbitmq.dial(&connected, target.address().authority()).await?)))
    }

    #[cfg(not(feature = "rabbitmq"))]
    pub(super) async fn rabbitmq(&self, _: &Target) -> Result<Stream, BoxError> {
        Err("this program was built without the feature `rabbitmq`".into())
    }
}

/// The broker, not the endpoint, is what cannot be reached.
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
#[derive(Debug, thiserror::Error)]
#[error("the broker at {url} cannot be reached")]
struct Unreachable {
    url: String,
    source: BoxError,
}

#[cfg(any(feature = "nats", feature = "rabbitmq"))]
fn cell<T>(shared: &Shared<T>, url: &str) -> Arc<OnceCell<Arc<T>>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).entry(url.to_owned()).or_default().clone()
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.urls.iter().map(|url| without_secrets(url))).finish()
    }
}
