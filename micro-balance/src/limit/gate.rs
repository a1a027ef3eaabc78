//! Counts the requests under way and lets no more through than allowed.

use std::{
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::PollSemaphore;

use super::{
    algorithm::{Algorithm, Sample},
    learner::Learner,
};
use crate::answer::Guard;

/// One limit, shared by all services of a layer.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    limit: AtomicU32,
    in_flight: AtomicU32,
    waiting: AtomicU32,
    /// Permits to withhold when they come back, since the limit fell while they were in use.
    debt: AtomicU32,
    learner: Option<Mutex<Learner>>,
}

impl Gate {
    pub(super) fn fixed(limit: u32) -> Arc<Self> {
        Self::new(limit, None)
    }

    pub(super) fn adaptive(algorithm: Box<dyn Algorithm>) -> Arc<Self> {
        Self::new(algorithm.limit().max(1), Some(Mutex::new(Learner::new(algorithm))))
    }

    fn new(limit: u32, learner: Option<Mutex<Learner>>) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(limit as usize)),
            limit: AtomicU32::new(limit),
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            debt: AtomicU32::new(0),
            learner,
        })
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Goes through at once, or not.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        self.permits.try_acquire().ok()?.forget();
        Some(self.enter())
    }

    fn enter(self: &Arc<Self>) -> Permit {
        let in_flight = self.in_flight.fetch_add(1, Relaxed) + 1;
        // The clock is read only where somebody wants to know.
        let began = self.learner.is_some().then(Instant::now);
        Permit { gate: self.clone(), in_flight, began, took: None }
    }

    /// A place in the queue, unless `max` are taken.
    pub(super) fn wait(self: &Arc<Self>, max: u32) -> Option<Waiting> {
        let place = |waiting: u32| (waiting < max).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, place).ok()?;
        Some(Waiting { gate: self.clone(), permits: PollSemaphore::new(self.permits.clone()) })
    }

    fn release(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
        if self.debt.fetch_update(Relaxed, Relaxed, |debt| debt.checked_sub(1)).is_err() {
            self.permits.add_permits(1);
        }
    }

    pub(super) fn set_window(&self, window: Duration) {
        if let Some(learner) = &self.learner {
            learner.lock().unwrap_or_else(PoisonError::into_inner).window = window;
        }
    }

    fn sample(&self, learner: &Mutex<Learner>, sample: Sample, now: Instant) {
        let mut learner = match learner.try_lock() {
            Ok(learner) => learner,
            // Of samples that come at the same moment one is enough.
            Err(TryLockError::WouldBlock) => return,
            // An algorithm that has panicked once may do better.
            Err(TryLockError::Poisoned(learner)) => learner.into_inner(),
        };
        let Some(new) = learner.learn(sample, now) else { return };
        let old = self.limit.swap(new, Relaxed);
        if new > old {
            let mut paid = 0;
            let pay = |debt: u32| {
                paid = debt.min(new - old);
                Some(debt - paid)
            };
            // `pay` never refuses, so the update never fails.
            let _ = self.debt.fetch_update(Relaxed, Relaxed, pay);
            self.permits.add_permits((new - old - paid) as usize);
        } else if new < old {
            let withheld = self.permits.forget_permits((old - new) as usize) as u32;
            self.debt.fetch_add(old - new - withheld, Relaxed);
        }
    }
}

/// One request under way; gives its place back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    in_flight: u32,
    began: Option<Instant>,
    /// How long it took to the answer.
    took: Option<Duration>,
}

impl Permit {
    /// Tells how the request went. Without this, it tells nothing.
    pub(super) fn tell(&mut self, dropped: bool) {
        if let (Some(learner), Some(began)) = (&self.gate.learner, self.began) {
            let now = Instant::now();
            // A clock too coarse to tell still saw some time pass. A stream is no slower for being long.
            let latency = *self.took.get_or_insert((now - began).max(Duration::from_nanos(1)));
            self.gate.sample(learner, Sample { latency, in_flight: self.in_flight, dropped }, now);
        }
    }
}

impl Guard for Permit {
    fn fails(&mut self, overload: bool) {
        if overload {
            self.tell(true);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.release();
    }
}

/// A place in the queue, first come first served; given up when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    gate: Arc<Gate>,
    permits: PollSemaphore,
}

impl Waiting {
    pub(super) fn poll(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Permit> {
        // The semaphore is never closed: `None` cannot be.
        self.permits.poll_acquire(cx).map(|permit| {
            permit.into_iter().for_each(tokio::sync::OwnedSemaphorePermit::forget);
            self.gate.enter()
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Relaxed);
    }
}
