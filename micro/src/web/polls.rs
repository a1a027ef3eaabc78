//! What the endpoints of a service say of themselves, asked for while a page shows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::command::{Command, Context, Measured, Replies, Reply, Top};

/// How often endpoints are asked.
const EVERY: Duration = Duration::from_secs(5);
/// How many pages have their endpoints asked at a time; others go without.
const PAGES: usize = 16;
/// A service with more endpoints is not asked: so many answers nobody reads.
const ENDPOINTS: usize = 100;

/// Asks endpoints for pages. Clones share the bound.
#[derive(Clone, Debug)]
pub(super) struct Polls(Arc<Semaphore>);

/// The endpoints of one service, which are asked until this is dropped.
#[derive(Debug)]
pub(super) struct Poll {
    latest: watch::Receiver<Vec<Measured>>,
    _task: Option<AbortOnDropHandle<()>>,
}

impl Default for Polls {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PAGES)))
    }
}

impl Polls {
    /// Asks the `endpoints` of `service` from now on, if that is not too much.
    pub(super) fn begin(&self, context: &Context, service: &str, endpoints: usize) -> Poll {
        let (sender, latest) = watch::channel(Vec::new());
        let permit = self.0.clone().try_acquire_owned().ok().filter(|_| endpoints <= ENDPOINTS);
        let task = permit.map(|permit| {
            let asking = ask(context.clone(), service.to_owned(), sender, permit);
            AbortOnDropHandle::new(tokio::spawn(asking))
        });
        Poll { latest, _task: task }
    }
}

impl Poll {
    /// What each endpoint said last; nothing of those that were not asked yet.
    pub(super) fn latest(&self) -> Vec<Measured> {
        self.latest.borrow().clone()
    }
}

async fn ask(
    context: Context,
    service: String,
    latest: watch::Sender<Vec<Measured>>,
    _permit: OwnedSemaphorePermit,
) {
    let top = Top { name: Some(service), interval: EVERY, count: None };
    loop {
        let (replies, mut given) = Replies::channel();
        let take = async {
            while let Some(reply) = given.recv().await {
                if let Reply::Stats(measured) = reply {
                    latest.send_replace(measured);
                }
            }
        };
        tokio::select! {
            // A service that is gone may come back.
            _ = top.run(&context, &replies) => {}
            () = take => {}
        }
        latest.send_replace(Vec::new());
        sleep(EVERY).await;
    }
}
