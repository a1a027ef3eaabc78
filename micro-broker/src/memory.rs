//! A broker inside this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use futures_util::future::{BoxFuture, FutureExt};

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::deadline;
use crate::error::Error;
use crate::event::Event;
use crate::member::Member;
use crate::policy::Policy;
use crate::queue::Queue;
use crate::queued::Queued;
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
    /// Replaced whole: publishers read it without a lock.
    routes: ArcSwap<Routes>,
    changing: Mutex<()>,
    closed: AtomicBool,
}

/// Where events go. Queues of plain topics are found by a look-up, those with wildcards by trying each.
#[derive(Clone, Debug, Default)]
struct Routes {
    // Only subscribers add to it, so nobody can choose what collides: a fast hash will do.
    plain: HashMap<Arc<str>, Vec<Arc<Queue>>, RandomState>,
    wild: Vec<Arc<Queue>>,
}

impl Memory {
    /// An empty broker.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the event there is into every queue, or into none and says why not.
    fn offer(&self, event: &mut Option<Queued>) -> Result<(), Refused> {
        if self.shared.closed.load(Ordering::Relaxed) {
            return Err(Refused::Closed);
        }
        let Some(whole) = &*event else { return Ok(()) };
        let topic = &whole.topic;
        let routes = self.shared.routes.load();
        let plain = routes.plain.get(topic).map_or(&[][..], Vec::as_slice);
        // A topic somebody subscribes to by its name was looked at then.
        if plain.is_empty()
            && let Some(fault) = topic::fault(topic)
        {
            return Err(Refused::Invalid(topic.clone(), fault));
        }
        if let ([only], []) = (plain, &*routes.wild) {
            return if only.push(event) { Ok(()) } else { Err(Refused::Full(only.clone())) };
        }
        let wild = routes.wild.iter().filter(|queue| topic::matches(queue.topic(), topic));
        let all: Vec<_> = plain.iter().chain(wild).collect();
        if let Some(full) = all.iter().find(|queue| !queue.has_room()) {
            return Err(Refused::Full(Arc::clone(full)));
        }
        for queue in all {
            queue.push_anyway(whole.clone());
        }
        *event = None;
        Ok(())
    }

    /// Finds or makes the queue of a subscription. Only groups are shared.
    fn queue(&self, subscribe: &Subscribe) -> Arc<Queue> {
        self.change(|routes| {
            let queues = if topic::has_wildcard(&subscribe.topic) {
                &mut routes.wild
            } else {
                routes.plain.entry(subscribe.topic.clone()).or_default()
            };
            let shared = queues.iter().find(|queue| subscribe.group.is_some() && queue.is_for(subscribe));
            shared.cloned().unwrap_or_else(|| {
                let queue = Arc::new(Queue::new(subscribe));
                queues.push(queue.clone());
                queue
            })
        })
    }

    fn remove(&self, unwanted: impl Fn(&Queue) -> bool) {
        self.change(|Routes { plain, wild }| {
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
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Routes) -> T) -> T {
        let _one_at_a_time = self.shared.changing.lock().expect("what runs under this lock cannot panic");
        let mut routes = Routes::clone(&self.shared.routes.load());
        let result = change(&mut routes);
        self.shared.routes.store(Arc::new(routes));
        result
    }
}

/// Why an event is in no queue.
enum Refused {
    Closed,
    Invalid(Arc<str>, &'static str),
    Full(Arc<Queue>),
}

impl Refused {
    fn error(self) -> Error {
        match self {
            Self::Closed => Error::Closed { backend: BACKEND },
            Self::Invalid(topic, fault) => Error::invalid_topic(BACKEND, &topic, fault),
            Self::Full(queue) => Error::Full { backend: BACKEND, queue: queue.name().to_owned() },
        }
    }
}

impl Broker for Memory {
    fn publish(&self, event: Event, within: Duration) -> Confirm {
        let mut event = Some(event.into());
        let mut full = match self.offer(&mut event) {
            Ok(()) => return Confirm::known(Ok(())),
            Err(Refused::Full(full)) => full,
            Err(refused) => return Confirm::known(Err(refused.error())),
        };
        let (this, deadline) = (self.clone(), deadline::after(within));
        Confirm::awaited(async move {
            loop {
                let space = full.space();
                // Looks again after asking to be told, so that room made in between is not missed.
                match this.offer(&mut event) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Full(queue)) => full = queue,
                    Err(refused) => return Err(refused.error()),
                }
                if tokio::time::timeout_at(deadline, space).await.is_err() {
                    return this.offer(&mut event).map_err(Refused::error);
                }
            }
        })
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        async move {
            if let Some(fault) = topic::pattern_fault(&subscribe.topic) {
                return Err(Error::invalid_topic(BACKEND, &subscribe.topic, fault));
            }
            if self.shared.closed.load(Ordering::Relaxed) {
                return Err(Error::Closed { backend: BACKEND });
            }
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
            let (in_flight, letters) = (subscribe.in_flight, Arc::new(self.clone()));
            let member = Member::new(queue, in_flight, Policy { subscribe, letters });
            Ok(Subscription::of(member.keep((report, leave)), health))
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
