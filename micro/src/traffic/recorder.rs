//! What the request path tells those who follow it: nothing, while there is nobody.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::batch::{Batch, Counted};
use super::count::Count;
use super::exchange::Exchange;

/// How many may follow at a time.
const FOLLOWERS: usize = 8;
/// How many pairs of caller and endpoint a batch has; more callers are counted as one.
const WAYS: usize = 4096;
/// How many requests a batch has by themselves.
const SHOWN: usize = 64;
/// The caller of those that are too many to be told apart.
const OTHERS: &str = "(others)";

/// Tells of requests to those who follow. Clones tell the same.
///
/// While nobody follows, that costs the request path one read of a number. A follower that takes nothing costs a
/// bounded table.
#[derive(Clone)]
pub struct Recorder {
    name: Arc<str>,
    followers: Arc<Followers>,
}

#[derive(Default)]
struct Followers {
    list: ArcSwap<Vec<Arc<Mutex<Pending>>>>,
    /// How many these are: a look at the list takes two locked instructions.
    count: AtomicUsize,
}

/// Somebody who follows, until it is dropped.
#[derive(Debug)]
pub struct Follower {
    recorder: Recorder,
    pending: Arc<Mutex<Pending>>,
}

/// What a follower has not taken yet.
#[derive(Debug, Default)]
struct Pending {
    counts: HashMap<Way, Count>,
    requests: Vec<Exchange>,
    missed: u64,
}

/// From whom, to which service, to which endpoint.
type Way = (String, String, String);

impl Recorder {
    /// Tells of requests that pass through a face called `name`, such as `go.micro.api`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), followers: Arc::default() }
    }

    /// The face's name: the caller of requests that name none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same followers, but callers that do not name themselves are called `name`.
    #[must_use]
    pub fn named(&self, name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// Whether anybody follows.
    #[inline]
    pub fn is_followed(&self) -> bool {
        self.followers.count.load(Relaxed) > 0
    }

    /// Tells of a request that is over.
    pub fn record(&self, exchange: &Exchange) {
        for follower in self.followers.list.load().iter() {
            lock(follower).add(exchange);
        }
    }

    /// Follows from now on; none where eight do already.
    pub fn follow(&self) -> Option<Follower> {
        let pending = Arc::new(Mutex::new(Pending::default()));
        let before = self.followers.list.rcu(|followers| {
            let room = followers.len() < FOLLOWERS;
            followers.iter().cloned().chain(room.then(|| pending.clone())).collect::<Vec<_>>()
        });
        (before.len() < FOLLOWERS).then(|| {
            self.followers.count.fetch_add(1, Relaxed);
            Follower { recorder: self.clone(), pending }
        })
    }
}

impl Follower {
    /// What was seen since the last time.
    pub fn take(&self) -> Batch {
        let Pending { counts, requests, missed } = std::mem::take(&mut *lock(&self.pending));
        let counts = counts.into_iter();
        let counts =
            counts.map(|((from, service, endpoint), count)| Counted { from, service, endpoint, count });
        Batch { counts: counts.collect(), requests, missed }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let others = |followers: &Arc<Vec<_>>| {
            followers.iter().filter(|other| !Arc::ptr_eq(other, &self.pending)).cloned().collect::<Vec<_>>()
        };
        self.recorder.followers.list.rcu(others);
        self.recorder.followers.count.fetch_sub(1, Relaxed);
    }
}

impl Pending {
    fn add(&mut self, exchange: &Exchange) {
        let Exchange { from, service, endpoint, ok, millis, .. } = exchange;
        let mut way = (from.clone(), service.clone(), endpoint.clone());
        if self.counts.len() >= WAYS && !self.counts.contains_key(&way) {
            // Callers name themselves as they like; endpoints are the registry's.
            OTHERS.clone_into(&mut way.0);
        }
        self.counts.entry(way).or_default().add(*ok, *millis);
        if self.requests.len() < SHOWN {
            self.requests.push(exchange.clone());
        } else {
            self.missed += 1;
        }
    }
}

fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(from: &str) -> Exchange {
        let mut exchange = Exchange::new("greeter", "Greeter.Hello", "OK", true);
        (exchange.from, exchange.endpoint, exchange.millis) = (from.to_owned(), "a".to_owned(), 2.0);
        exchange
    }

    #[test]
    fn every_request_is_counted_and_some_are_shown() {
        let recorder = Recorder::new("go.micro.api");
        recorder.record(&exchange("before anybody follows"));
        let follower = recorder.follow().unwrap();
        (0..100).for_each(|_| recorder.record(&exchange("visitor")));
        let batch = follower.take();
        assert_eq!((batch.counts.len(), batch.counts[0].count.requests), (1, 100));
        assert_eq!((batch.requests.len(), batch.missed), (SHOWN, 100 - SHOWN as u64));
        assert!(follower.take().is_empty(), "what was taken is gone");
        let json = serde_json::to_string(&batch).unwrap();
        assert_eq!(serde_json::from_str::<Batch>(&json).unwrap(), batch);
    }

    #[test]
    fn callers_that_make_up_names_cost_a_bounded_table() {
        let recorder = Recorder::new("go.micro.api");
        let follower = recorder.follow().unwrap();
        (0..2 * WAYS).for_each(|number| recorder.record(&exchange(&number.to_string())));
        let batch = follower.take();
        assert_eq!(batch.counts.len(), WAYS + 1);
        let all: u32 = batch.counts.iter().map(|counted| counted.count.requests).sum();
        assert_eq!(all as usize, 2 * WAYS);
    }

    #[test]
    fn nobody_is_told_who_has_gone_and_few_can_follow() {
        let recorder = Recorder::new("go.micro.api");
        assert!(!recorder.is_followed());
        let mut followers: Vec<_> = (0..FOLLOWERS).map(|_| recorder.follow().unwrap()).collect();
        assert!(recorder.is_followed() && recorder.follow().is_none());
        followers.pop();
        assert!(recorder.follow().is_some());
        followers.clear();
        assert!(!recorder.is_followed());
    }
}
