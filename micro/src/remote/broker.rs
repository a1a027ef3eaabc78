//! The sidecar as a broker.

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use micro_broker::{Broker, Confirm, Error, Event, Health, Settle, Subscribe, Subscription};
use tokio::time::sleep;
use tower::BoxError;

use super::sidecar::{Refused, Sidecar};

const BACKEND: &str = "sidecar";
/// How long to wait before a subscription that broke off is opened anew.
const AGAIN: Duration = Duration::from_secs(1);

impl Broker for Sidecar {
    fn publish(&self, event: Event, within: Duration) -> Confirm {
        let sidecar = self.clone();
        Confirm::awaited(async move {
            let unconfirmed =
                |source| wrong(&source).unwrap_or(Error::Unconfirmed { backend: BACKEND, source });
            sidecar.publish(&event.topic, event.headers, event.body, within).await.map_err(unconfirmed)
        })
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        Box::pin(async move {
            let sidecar = self.clone();
            let (topic, queue) = (subscribe.topic().to_owned(), subscribe.group_name().map(str::to_owned));
            let unavailable =
                |source| wrong(&source).unwrap_or(Error::Unavailable { backend: BACKEND, source });
            let first = self.events(&topic, queue.as_deref()).await.map_err(unavailable)?;
            let (tell, health) = Health::new();
            let reopened = stream::unfold(tell, move |tell| {
                let (sidecar, topic, queue) = (sidecar.clone(), topic.clone(), queue.clone());
                async move {
                    tell.send_modify(|report| report.connected = false);
                    loop {
                        sleep(AGAIN).await;
                        if let Ok(events) = sidecar.events(&topic, queue.as_deref()).await {
                            tell.send_modify(|report| {
                                (report.connected, report.restored) = (true, report.restored + 1);
                            });
                            return Some((events, tell));
                        }
                    }
                }
            });
            let events = first.boxed().chain(reopened.map(StreamExt::boxed).flatten());
            let incoming = events.map(|event| (event, Arc::new(Settled) as Arc<dyn Settle>)).boxed();
            Ok(Subscription::new(incoming, subscribe, Arc::new(self.clone()), health))
        })
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

/// What the sidecar rejects, if `error` says so: it would again.
fn wrong(error: &BoxError) -> Option<Error> {
    let what = error.downcast_ref::<Refused>()?.wrong()?.to_owned();
    Some(Error::Invalid { backend: BACKEND, what })
}

/// The sidecar has said that an event was handled as soon as the next one is read.
#[derive(Debug)]
struct Settled;

impl Settle for Settled {
    fn ack(&self) -> Confirm {
        Confirm::awaited(async { Ok(()) })
    }

    fn nack(&self, _: Event, _: Duration) -> Confirm {
        let what = "to bring an event again: the sidecar has none that it gave away".to_owned();
        Confirm::awaited(async { Err(Error::Invalid { backend: BACKEND, what }) })
    }

    fn release(&self, _: Event) {}
}
