//! The sidecar as a broker.

use std::time::Duration;

use futures_core::future::BoxFuture;
use micro_broker::{Broker, Confirm, Error, Event, Subscribe, Subscription};

use super::sidecar::Sidecar;

const BACKEND: &str = "sidecar";

impl Broker for Sidecar {
    fn publish(&self, event: Event, within: Duration) -> Confirm {
        let sidecar = self.clone();
        Confirm::awaited(async move {
            let unconfirmed = |source| Error::Unconfirmed { backend: BACKEND, source };
            sidecar.publish(&event.topic, event.headers, event.body, within).await.map_err(unconfirmed)
        })
    }

    fn subscribe(&self, _: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        let what = "subscriptions: give --broker beside --proxy".to_owned();
        Box::pin(async { Err(Error::Invalid { backend: BACKEND, what }) })
    }

    fn forget<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let what = "groups: it has none of its own".to_owned();
        Box::pin(async { Err(Error::Invalid { backend: BACKEND, what }) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}
