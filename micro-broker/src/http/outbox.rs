//! Where events wait in their publisher until a subscriber has handled them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::delivery::Settle;
use crate::error::Error;
use crate::event::Event;
use crate::http::BACKEND;
use crate::http::client::{Answer, Client};
use crate::http::directory::{Directory, Target};
use crate::queue::{Member, Queue};
use crate::subscribe::Subscribe;
use crate::subscription::Incoming;
use crate::topic::{DEAD_GROUP, DEAD_PREFIX};

/// How many events wait in one outbox.
const CAPACITY: usize = 10_000;
/// How long a closing broker tries to empty its outboxes.
const FAREWELL: Duration = Duration::from_secs(5);

/// One outbox for each group on a pattern, and for each broadcast subscriber.
#[derive(Debug)]
pub(super) struct Outboxes {
    directory: Directory,
    client: Client,
    queues: Mutex<HashMap<Key, Arc<Queue>>>,
    backoff: Backoff,
}

/// Whose outbox: the group and its pattern, or one subscriber's id and pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    group: Option<String>,
    pattern: String,
    id: Option<String>,
}

impl Key {
    fn of(target: &Target) -> Self {
        let id = target.group.is_none().then(|| target.id.clone());
        Self { group: target.group.clone(), pattern: target.pattern.clone(), id }
    }

    fn covers(&self, target: &Target) -> bool {
        let same = self.group == target.group && self.id.as_ref().is_none_or(|id| *id == target.id);
        // A dead letter that had nobody yet waits under its own topic for whoever comes.
        let dead = self.group.as_deref() == Some(DEAD_GROUP)
            && crate::topic::matches(&target.pattern, &self.pattern);
        same && (dead || self.pattern == target.pattern)
    }
}

impl Outboxes {
    pub(super) fn new(directory: Directory) -> Arc<Self> {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        Arc::new(Self { directory, client: Client::new(), queues: Mutex::default(), backoff })
    }

    pub(super) async fn publish(self: &Arc<Self>, event: Event, within: Duration) -> Result<(), Error> {
        let targets = self.directory.subscribers(&event.topic, within).await?;
        for queue in self.queues_for(&event.topic, &targets) {
            queue
                .push(event.clone())
                .map_err(|_| Error::Full { backend: BACKEND, queue: queue.name().to_owned() })?;
        }
        Ok(())
    }

    /// The outboxes of everyone who subscribes to a topic, or did.
    fn queues_for(self: &Arc<Self>, topic: &str, targets: &[Target]) -> Vec<Arc<Queue>> {
        let mut queues = self.queues.lock().expect("no user code runs under this lock");
        for target in targets {
            let covered = queues.keys().any(|key| key.covers(target));
            if !covered {
                self.open(&mut queues, Key::of(target), target.in_flight);
            }
        }
        let is_kept = |key: &Key| key.group.is_some() && crate::topic::matches(&key.pattern, topic);
        let is_there = |key: &Key| targets.iter().any(|target| key.covers(target));
        if topic.starts_with(DEAD_PREFIX) && !queues.keys().any(|key| is_kept(key) || is_there(key)) {
            let key = Key { group: Some(DEAD_GROUP.to_owned()), pattern: topic.to_owned(), id: None };
            self.open(&mut queues, key, 1);
        }
        queues
            .iter()
            .filter(|(key, _)| is_kept(key) || is_there(key))
            .map(|(_, queue)| queue.clone())
            .collect()
    }

    fn open(self: &Arc<Self>, queues: &mut HashMap<Key, Arc<Queue>>, key: Key, in_flight: usize) {
        let mut subscribe = Subscribe::to(key.pattern.as_str()).buffer(CAPACITY);
        if let Some(group) = &key.group {
            subscribe = subscribe.group(group.as_str());
        }
        let queue = Arc::new(Queue::new(&subscribe));
        tokio::spawn(empty(Arc::downgrade(self), key.clone(), Member::new(queue.clone(), in_flight)));
        queues.insert(key, queue);
    }

    /// Posts one event, and settles it with its outbox.
    async fn post(&self, key: &Key, (event, settle): Incoming) {
        let nobody = self.backoff.wait(event.attempt, fastrand::f64());
        let answer = match self.directory.subscribers(&event.topic, FAREWELL).await {
            Ok(targets) => {
                let members: Vec<_> = targets.iter().filter(|target| key.covers(target)).collect();
                match members.get(fastrand::usize(0..members.len().max(1))) {
                    Some(target) => self.client.post(target, &event).await,
                    // A broadcast subscriber that left takes its events with it; a group waits for a member.
                    None if key.id.is_some() => Answer::Handled,
                    None => Answer::Unsent,
                }
            }
            Err(_) => Answer::Unsent,
        };
        // The outbox is in this process and always hears.
        let _ = match answer {
            Answer::Handled => settle.ack(),
            Answer::Again(after) => settle.nack(event, after),
            Answer::Lost => settle.nack(event, nobody),
            Answer::Unsent => {
                // Nobody has seen it, so it was no attempt.
                let attempt = event.attempt.saturating_sub(1);
                settle.nack(Event { attempt, ..event }, nobody)
            }
        }
        .await;
    }

    pub(super) fn forget(&self, topic: &str, group: &str) {
        let mut queues = self.queues.lock().expect("no user code runs under this lock");
        queues.retain(|key, queue| {
            let kept = key.pattern != topic || key.group.as_deref() != Some(group);
            if !kept {
                queue.close();
            }
            kept
        });
    }

    /// Tries for a while to empty the outboxes, then closes them.
    pub(super) async fn close(&self) {
        let queues: Vec<_> =
            self.queues.lock().expect("no user code runs under this lock").values().cloned().collect();
        let emptied = async {
            while queues.iter().any(|queue| !queue.is_idle()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, emptied).await;
        queues.iter().for_each(|queue| queue.close());
    }
}

/// Empties one outbox for as long as the broker lives; the queue's own limit bounds what is posted at once.
async fn empty(outboxes: Weak<Outboxes>, key: Key, mut events: Member) {
    let mut posts = JoinSet::new();
    loop {
        tokio::select! {
            event = events.next() => {
                let (Some(event), Some(outboxes)) = (event, outboxes.upgrade()) else { break };
                let key = key.clone();
                posts.spawn(async move { outboxes.post(&key, event).await });
            }
            Some(_) = posts.join_next() => {}
        }
    }
}
