//! Where events wait in their publisher until a subscriber has handled them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::error::Error;
use crate::event::Event;
use crate::http::BACKEND;
use crate::http::client::{Answer, Client};
use crate::http::directory::{Directory, FRESH, Target};
use crate::http::unreached::Unreached;
use crate::member::Member;
use crate::queue::Queue;
use crate::settle::Settle;
use crate::subscribe::Subscribe;
use crate::topic::{DEAD_GROUP, DEAD_PREFIX};

/// How many events wait in one outbox.
const CAPACITY: usize = 10_000;
/// How long a closing broker tries to empty its outboxes, and the registry may take to answer.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// One outbox for each group on a pattern, and for each broadcast subscriber.
#[derive(Debug)]
pub(super) struct Outboxes {
    directory: Directory,
    client: Client,
    queues: Mutex<HashMap<Key, Arc<Queue>>>,
    backoff: Backoff,
    /// How many events each subscriber has in hand.
    busy: Mutex<HashMap<String, usize>>,
    freed: Notify,
    unreached: Unreached<Key>,
}

/// Where an event goes.
enum Place {
    With(Hand),
    /// A broadcast subscriber that left takes its outbox with it.
    Gone,
}

/// One of the events a subscriber may have in hand.
struct Hand {
    target: Target,
    outboxes: Arc<Outboxes>,
}

impl Drop for Hand {
    fn drop(&mut self) {
        let mut busy = self.outboxes.busy();
        if let Some(count) = busy.get_mut(&self.target.id) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.target.id);
            }
        }
        drop(busy);
        self.outboxes.freed.notify_waiters();
    }
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
        let client = Client::new();
        let (queues, busy, freed) = (Mutex::default(), Mutex::default(), Notify::new());
        let unreached = Unreached::default();
        Arc::new(Self { directory, client, queues, backoff, busy, freed, unreached })
    }

    pub(super) async fn publish(self: &Arc<Self>, event: Event, within: Duration) -> Result<(), Error> {
        let targets = self.directory.subscribers(&event.topic, within).await?;
        for queue in self.queues_for(&event.topic, &targets) {
            if !queue.push(&mut Some(event.clone().into())) {
                return Err(Error::Full { backend: BACKEND, queue: queue.name().to_owned() });
            }
        }
        Ok(())
    }

    /// The outboxes of everyone who subscribes to a topic, or did.
    fn queues_for(self: &Arc<Self>, topic: &str, targets: &[Target]) -> Vec<Arc<Queue>> {
        let mut queues = self.queues.lock().expect("no user code runs under this lock");
        for target in targets {
            let covered = queues.keys().any(|key| key.covers(target));
            if !covered {
                self.open(&mut queues, Key::of(target));
            }
        }
        let is_kept = |key: &Key| key.group.is_some() && crate::topic::matches(&key.pattern, topic);
        let is_there = |key: &Key| targets.iter().any(|target| key.covers(target));
        if topic.starts_with(DEAD_PREFIX) && !queues.keys().any(|key| is_kept(key) || is_there(key)) {
            let key = Key { group: Some(DEAD_GROUP.to_owned()), pattern: topic.to_owned(), id: None };
            self.open(&mut queues, key);
        }
        queues
            .iter()
            .filter(|(key, _)| is_kept(key) || is_there(key))
            .map(|(_, queue)| queue.clone())
            .collect()
    }

    fn open(self: &Arc<Self>, queues: &mut HashMap<Key, Arc<Queue>>, key: Key) {
        let mut subscribe = Subscribe::to(key.pattern.as_str()).buffer(CAPACITY);
        if let Some(group) = &key.group {
            subscribe = subscribe.group(group.as_str());
        }
        let queue = Arc::new(Queue::new(&subscribe));
        let events = Member::new(queue.clone(), CAPACITY, ());
        tokio::spawn(empty(Arc::downgrade(self), Arc::new(key.clone()), events));
        queues.insert(key, queue);
    }

    /// A member of the group with a free hand, or the one subscriber. The registry's trouble counts as nobody there.
    async fn place(self: &Arc<Self>, key: &Key, topic: &str) -> Option<Place> {
        let targets = self.directory.subscribers(topic, FAREWELL).await.ok()?;
        let mut members: Vec<_> = targets.iter().filter(|target| key.covers(target)).collect();
        if members.is_empty() && key.id.is_some() {
            return Some(Place::Gone);
        }
        fastrand::shuffle(&mut members);
        let mut busy = self.busy();
        let hands = |target: &Target| busy.get(&target.id).copied().unwrap_or_default();
        let free = members.into_iter().filter(|target| hands(target) < target.in_flight);
        // One that took nothing is tried again where there is nobody else.
        let target = free.min_by_key(|target| (self.unreached.contains(&target.id), hands(target)))?.clone();
        *busy.entry(target.id.clone()).or_default() += 1;
        Some(Place::With(Hand { target, outboxes: self.clone() }))
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.busy.lock().expect("no user code runs under this lock")
    }

    /// Posts one event, and settles it with its outbox.
    async fn post(&self, key: &Key, hand: Hand, (event, settle): (Event, Arc<impl Settle>)) {
        let later = self.backoff.wait(event.attempt, fastrand::f64());
        let answer = self.client.post(&hand.target, &event).await;
        match answer {
            Answer::Unsent => self.not_reached(key, &hand.target, &event.topic).await,
            _ => self.unreached.reached(&hand.target.id, key),
        }
        let settled = match answer {
            Answer::Handled => settle.ack(),
            Answer::Again(after) => settle.nack(event, after),
            Answer::Lost => settle.nack(event, later),
            Answer::Unsent => {
                // Nobody has seen it, so it was no attempt.
                let attempt = event.attempt.saturating_sub(1);
                settle.nack(Event { attempt, ..event }, later)
            }
        };
        // The outbox is in this process and always hears.
        let _ = settled.await;
    }

    async fn not_reached(&self, key: &Key, target: &Target, topic: &str) {
        self.unreached.not_reached(&target.id);
        let Ok(targets) = self.directory.subscribers(topic, FAREWELL).await else { return };
        let mut members = targets.iter().filter(|target| key.covers(target));
        if members.all(|member| self.unreached.contains(&member.id)) {
            self.unreached.has_nobody(key);
        }
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

    /// Tries so long to empty the outboxes, then closes them. One whose subscribers all took nothing is not waited for: who
    /// comes instead of them has another id.
    pub(super) async fn close(&self, within: Duration) {
        let queues = self.queues.lock().expect("no user code runs under this lock").clone();
        let is_due = |(key, queue): (&Key, &Arc<Queue>)| !queue.is_idle() && self.unreached.is_read(key);
        let emptied = async {
            while queues.iter().any(is_due) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(within, emptied).await;
        queues.values().for_each(|queue| queue.close());
    }
}

/// Empties one outbox for as long as the broker lives. Places are taken in the order of the events; the places there
/// are bound what is posted at once.
async fn empty(outboxes: Weak<Outboxes>, key: Arc<Key>, mut events: Member<()>) {
    while let Some((queued, settle)) = events.next().await {
        let event = Event::from(queued);
        let place = loop {
            let Some(outboxes) = outboxes.upgrade() else { return };
            let freed = outboxes.freed.notified();
            match outboxes.place(&key, &event.topic).await {
                Some(place) => break place,
                // Somebody finishes, or somebody comes.
                None => drop(tokio::time::timeout(FRESH, freed).await),
            }
        };
        match place {
            Place::Gone => {
                if let Some(outboxes) = outboxes.upgrade() {
                    outboxes.queues.lock().expect("no user code runs under this lock").remove(&*key);
                    outboxes.unreached.forget(&key);
                }
                return;
            }
            Place::With(hand) => {
                let (outboxes, key) = (hand.outboxes.clone(), key.clone());
                tokio::spawn(async move { outboxes.post(&key, hand, (event, settle)).await });
            }
        }
    }
}
