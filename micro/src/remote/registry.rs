//! The sidecar as a registry.

use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use micro_discover::{Error, Invalid, Registry, Service};
use tokio::time::sleep;
use tower::BoxError;

use super::sidecar::{Refused, Sidecar};

const BACKEND: &str = "sidecar";
/// How often it is asked for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the sidecar did not do `what`: what it rejects it would again.
fn failed(what: &str) -> impl FnOnce(BoxError) -> Error {
    let what = what.to_owned();
    move |source| match source.downcast_ref::<Refused>().and_then(Refused::wrong) {
        Some(wrong) => Error::Invalid { backend: BACKEND, what: Invalid::new(wrong) },
        None => Error::Unavailable { backend: BACKEND, what, source },
    }
}

impl Registry for Sidecar {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move { self.put(&service, ttl).await.map_err(failed("announce")) })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move { self.remove(&service).await.map_err(failed("withdraw")) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            let names = self.names().await.map_err(failed("list"))?;
            Ok(names.into_iter().map(Service::new).collect())
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move { self.records(&name).await.map_err(failed("get")) })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let (sidecar, name) = (self.clone(), name.to_owned());
        let look = move |(known, wait): (Option<Vec<Service>>, bool)| {
            let (sidecar, name) = (sidecar.clone(), name.clone());
            async move {
                let mut wait = wait;
                loop {
                    if wait {
                        sleep(LOOK_EVERY).await;
                    }
                    wait = true;
                    match sidecar.records(&name).await {
                        Ok(found) if known.as_ref() == Some(&found) => {}
                        Ok(found) => return Some((Ok(found.clone()), (Some(found), true))),
                        Err(error) => return Some((Err(failed("watch")(error)), (known, true))),
                    }
                }
            }
        };
        stream::unfold((None, false), look).boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}
