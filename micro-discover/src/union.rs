//! Several registries as one: what is in any of them is there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use crate::merge::merge;
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry};
use crate::watch::Watch;

/// A registry that announces to several and finds what any of them has, e.g. while moving from one to another.
///
/// An endpoint that several know is taken from the first one. A watched set comes when all have answered once; later
/// a registry that fails keeps its last good set, so its endpoints stay.
#[derive(Clone, Debug)]
pub struct Union {
    registries: Vec<Arc<dyn Registry>>,
}

const BACKEND: &str = "union";

impl Union {
    /// These registries, the one to be believed first coming first.
    pub fn new(registries: impl IntoIterator<Item = Arc<dyn Registry>>) -> Self {
        Self { registries: registries.into_iter().collect() }
    }

    /// Asks all of them, even if one refuses. Succeeds when all do.
    async fn tell<F: Future<Output = Result<(), Error>>>(
        &self,
        tell: impl Fn(Arc<dyn Registry>) -> F,
    ) -> Result<(), Error> {
        join_all(self.registries.iter().cloned().map(tell)).await.into_iter().collect()
    }
}

/// All records, each endpoint once: the earlier set's word stands.
fn united<'a>(sets: impl IntoIterator<Item = &'a Vec<Service>>) -> Vec<Service> {
    let mut seen = BTreeSet::new();
    let new = |record: &Service| {
        let mut new = record.clone();
        new.endpoints.retain(|endpoint| seen.insert((record.name.clone(), endpoint.id.clone())));
        // A list may name services alone. Where there are endpoints, and others have said them all, nothing is new.
        (record.endpoints.is_empty() || !new.endpoints.is_empty()).then_some(new)
    };
    let records: Vec<_> = sets.into_iter().flatten().filter_map(new).collect();
    merge(&records)
}

impl Registry for Union {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            let service = &service;
            self.tell(|registry| async move { registry.announce(service, ttl).await }).await
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            let service = &service;
            self.tell(|registry| async move { registry.withdraw(service).await }).await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            let listed = join_all(self.registries.iter().map(|registry| registry.list())).await;
            Ok(united(&listed.into_iter().collect::<Result<Vec<_>, _>>()?))
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            check_service_name(&name).map_err(|what| Error::Invalid { backend: BACKEND, what })?;
            let sets = join_all(self.registries.iter().map(|registry| registry.get(&name))).await;
            Ok(united(&sets.into_iter().collect::<Result<Vec<_>, _>>()?))
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        if let Err(what) = check_service_name(name) {
            return stream::iter([Err(Error::Invalid { backend: BACKEND, what })]).boxed();
        }
        let watches =
            self.registries.iter().enumerate().map(|(place, registry)| {
                Watch::new(registry.clone(), name).map(move |set| (place, set)).boxed()
            });
        let latest: Vec<Option<Vec<Service>>> = vec![None; self.registries.len()];
        let sets = stream::select_all(watches).scan(latest, |latest, (place, set)| {
            latest[place] = Some(set);
            let whole: Option<Vec<_>> = latest.iter().map(Option::as_ref).collect();
            std::future::ready(Some(whole.map(united)))
        });
        sets.filter_map(|set| std::future::ready(set.map(Ok))).boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}
