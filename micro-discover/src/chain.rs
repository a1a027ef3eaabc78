//! A registry and another one for when the first has never answered.

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};

use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry};
use crate::watch::{Status, Watch};

/// A primary registry with a fallback, e.g. a cluster's and a fixed list.
///
/// The fallback speaks while the primary fails and has not answered before: a primary that answered once is
/// believed from then on, and its last good set kept through its failures. Announcements go to the
/// primary, and to the fallback only while it fails.
#[derive(Clone, Debug)]
pub struct Chain {
    primary: Arc<dyn Registry>,
    fallback: Arc<dyn Registry>,
}

const BACKEND: &str = "chain";

impl Chain {
    /// Asks `primary`, else `fallback`.
    pub fn new(primary: Arc<dyn Registry>, fallback: Arc<dyn Registry>) -> Self {
        Self { primary, fallback }
    }
}

/// `Ok` and what cannot be helped; none when the fallback is to be asked.
fn settled<T>(answer: Result<T, Error>) -> Option<Result<T, Error>> {
    match answer {
        Err(error) if error.is_retryable() => {
            tracing::debug!(error = error.report(), "asking the fallback registry");
            None
        }
        answer => Some(answer),
    }
}

impl Registry for Chain {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            match settled(self.primary.announce(&service, ttl).await) {
                Some(done) => done,
                None => self.fallback.announce(&service, ttl).await,
            }
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            // Both may have it.
            match self.fallback.withdraw(&service).await {
                Ok(()) | Err(Error::Unsupported { .. }) => self.primary.withdraw(&service).await,
                Err(error) => self.primary.withdraw(&service).await.and(Err(error)),
            }
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            match settled(self.primary.list().await) {
                Some(done) => done,
                None => self.fallback.list().await,
            }
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            match settled(self.primary.get(&name).await) {
                Some(done) => done,
                None => self.fallback.get(&name).await,
            }
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        if let Err(what) = check_service_name(name) {
            return stream::iter([Err(Error::Invalid { backend: BACKEND, what })]).boxed();
        }
        let primary = Watch::new(self.primary.clone(), name);
        let status = primary.status();
        let fallback = self.fallback.clone();
        let name = name.to_owned();
        let standing_in =
            stream::once(failure(status.clone())).flat_map(move |()| Watch::new(fallback.clone(), &name));
        // What the fallback says counts until the primary has spoken.
        let standing_in = standing_in.take_while(move |_| std::future::ready(!status.resolved()));
        stream::select(primary, standing_in).map(Ok).boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

/// Waits until the watch behind `status` has failed.
async fn failure(status: Status) {
    const GLANCE: Duration = Duration::from_millis(50);
    while status.stale_since().is_none() {
        tokio::time::sleep(GLANCE).await;
    }
}
