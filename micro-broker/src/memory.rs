//! A broker inside this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;
use crate::queue::{Member, Queue};
use crate::subscribe::Subscribe;
use crate::subscription::{Health, Subscription};
use crate::topic::{self, DEAD_GROUP, DEAD_PREFIX};

const BACKEND: &str = "memory";

/// A broker inside this process: for tests, examples and programs of one process. Clones share it.
///
/// **Promises.** At least once while the process lives, nothing after it. A publisher's events reach each subscription
/// in order; an event that is delivered again comes late. A group outlives its members and keeps what was published
/// meanwhile. Nothing is dropped: a publisher whose event has no room in some subscription's
/// [`buffer`](Subscribe::buffer) waits, and then gets [`Error::Full`], which names the slow one. `Ok` says that the
/// event is in every queue.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    routes: RwLock<Routes>,
    closed: AtomicBool,
}

/// Where events go. Queues of plain topics are found by a look-up, those with wildcards by trying each.
#[derive(Debug, Default)]
struct Routes {
    plain: HashMap<Arc<str>, Vec<Arc<Queue>>>,
    wild: Vec<Arc<Queue>>,
}

impl Memory {
    /// An empty broker.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an event into every queue, or into none and names one that is full.
    #[expect(
        clippy::result_large_err,
        reason = "a refused event comes back by value: publishing allocates nothing"
    )]
    fn offer(&self, event: Event) -> Result<(), (Event, Arc<Queue>)> {
        let routes = self.shared.routes.read().expect("no user code runs under this lock");
        let topic = event.topic.clone();
        let mut queues = routes.matching(&topic);
        let Some(first) = queues.next() else { return Ok(()) };
        let Some(second) = queues.next() else {
            return first.push(event).map_err(|event| (event, first.clone()));
        };
        let all = || [first, second].into_iter().chain(queues.clone());
        if let Some(full) = all().find(|queue| !queue.has_room()) {
            return Err((event, full.clone()));
        }
        for queue in all() {
            queue.push_anyway(event.clone());
        }
        Ok(())
    }

    /// Finds or makes the queue of a subscription. Only groups are shared.
    fn queue(&self, subscribe: &Subscribe) -> Arc<Queue> {
        let mut routes = self.shared.routes.write().expect("no user code runs under this lock");
        let queues = if topic::has_wildcard(&subscribe.topic) {
            &mut routes.wild
        } else {
            routes.plain.entry(subscribe.topic.clone()).or_default()
        };
        let shared = queues.iter().find(|queue| subscribe.group.is_some() && queue.is_for(subscribe));
        if let Some(queue) = shared {
            return queue.clone();
        }
        let queue = Arc::new(Queue::new(subscribe));
        queues.push(queue.clone());
        queue
    }

    fn remove(&self, unwanted: impl Fn(&Queue) -> bool) {
        let mut routes = self.shared.routes.write().expect("no user code runs under this lock");
        let Routes { plain, wild } = &mut *routes;
        for queues in plain.values_mut().chain([wild]) {
            queues.retain(|queue| {
                let unwanted = unwanted(queue);
                if unwanted {
                    queue.close();
                }
                !unwanted
            });
        }
        plain.retain(|_, queues| !queues.is_empty());
    }

    fn check(&self, topic: &str, fault: Option<&str>) -> Result<(), Error> {
        match fault {
            _ if self.shared.closed.load(Ordering::Relaxed) => Err(Error::Closed { backend: BACKEND }),
            Some(fault) => {
                Err(Error::Invalid { backend: BACKEND, what: format!("topic {topic:?}: {fault}") })
            }
            None => Ok(()),
        }
    }
}

impl Routes {
    fn matching<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Arc<Queue>> + Clone {
        let plain = self.plain.get(topic).into_iter().flatten();
        plain.chain(self.wild.iter().filter(move |queue| topic::matches(queue.topic(), topic)))
    }
}

impl Broker for Memory {
    fn publish(&self, event: Event, within: Duration) -> Confirm {
        if let Err(error) = self.check(&event.topic, topic::fault(&event.topic)) {
            return Confirm::known(Err(error));
        }
        let (mut event, mut full) = match self.offer(event) {
            Ok(()) => return Confirm::known(Ok(())),
            Err(refused) => refused,
        };
        let (this, deadline) = (self.clone(), Instant::now() + within);
        Confirm::awaited(async move {
            loop {
                let space = full.space();
                // Looks again after asking to be told, so that room made in between is not missed.
                match this.offer(event) {
                    Ok(()) => return Ok(()),
                    Err(refused) => (event, full) = refused,
                }
                if tokio::time::timeout_at(deadline, space).await.is_err() {
                    return Err(Error::Full { backend: BACKEND, queue: full.name().to_owned() });
                }
            }
        })
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        async move {
            self.check(&subscribe.topic, topic::pattern_fault(&subscribe.topic))?;
            if !subscribe.topic.starts_with(DEAD_PREFIX) {
                // Dead letters wait for whoever comes to read them.
                let dead = format!("{DEAD_PREFIX}{}", subscribe.topic);
                self.queue(&Subscribe::to(dead).group(DEAD_GROUP));
            }
            let queue = self.queue(&subscribe);
            let (report, health) = Health::new();
            let leave = subscribe.group.is_none().then(|| {
                let (this, queue) = (self.clone(), queue.clone());
                Leave(Box::new(move || this.remove(|other| std::ptr::eq(other, &*queue))))
            });
            // The report's sender and the wish to leave live as long as the stream.
            let member = Member::new(queue, subscribe.in_flight);
            let stream = member.map(move |incoming| {
                let _ = (&report, &leave);
                incoming
            });
            Ok(Subscription::new(stream.boxed(), subscribe, Arc::new(self.clone()), health))
        }
        .boxed()
    }

    fn forget<'a>(&'a self, topic: &'a str, group: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let forgotten = Subscribe::to(topic).group(group);
        self.remove(|queue| queue.is_for(&forgotten));
        std::future::ready(Ok(())).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.remove(|_| true);
        std::future::ready(()).boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

/// Takes a broadcast subscriber's queue away when its stream is dropped.
struct Leave(Box<dyn Fn() + Send + Sync>);

impl Drop for Leave {
    fn drop(&mut self) {
        (self.0)();
    }
}
