//! Makes the calls: as fast as answers come, or at a rate whatever answers take.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use micro_balance::SentTo;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::figures::Figures;
use crate::call::{Error, Prepared, documents};
use crate::duration::after;

/// When calls begin, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rate: Option<f64>,
    pub(super) duration: Duration,
    pub(super) count: Option<u64>,
}

/// Calls that are made, and what came of them.
pub(super) struct Load {
    plan: Plan,
    call: Prepared,
    text: String,
    began: Instant,
    /// How many have begun, or are about to.
    begun: AtomicU64,
    figures: Mutex<Figures>,
}

impl Load {
    pub(super) fn new(plan: Plan, call: Prepared, text: String) -> Self {
        let (began, begun) = (Instant::now(), AtomicU64::new(0));
        Self { plan, call, text, began, begun, figures: Mutex::default() }
    }

    /// Makes them, `concurrency` at a time, until it is time to end; dropped before that it gives up what is under way.
    ///
    /// # Errors
    ///
    /// What is wrong with every call.
    pub(super) async fn run(self: &Arc<Self>, concurrency: usize) -> Result<(), Error> {
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            workers.spawn(self.clone().work());
        }
        while let Some(done) = workers.join_next().await {
            // One that panicked has made no calls since.
            done.unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// Makes one call after the other.
    async fn work(self: Arc<Self>) -> Result<(), Error> {
        let end = after(self.began, self.plan.duration);
        loop {
            let number = self.begun.fetch_add(1, Relaxed);
            let due = self.due(number);
            if self.plan.count.is_some_and(|count| number >= count) || due.max(Instant::now()) >= end {
                self.begun.fetch_sub(1, Relaxed);
                return Ok(());
            }
            // Who comes late, as answers took long, counts the wait; a clock that wakes late is nobody's.
            let began = match due > Instant::now() {
                true => {
                    sleep_until(due).await;
                    Instant::now()
                }
                false if self.plan.rate.is_some() => due,
                false => Instant::now(),
            };
            let sent_to = SentTo::default();
            let done = self.make(&sent_to).await;
            if let Err(error @ (Error::Input(_) | Error::Schema(_) | Error::Output(_))) = done {
                return Err(error);
            }
            let code = done.err().map_or(tonic::Code::Ok, |error| error.code());
            self.figures().note(sent_to.id().as_deref(), code, began.elapsed());
        }
    }

    /// When the call `number` is to begin; at once where no rate says so.
    fn due(&self, number: u64) -> Instant {
        let Some(rate) = self.plan.rate else { return self.began };
        let since = Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX);
        after(self.began, since)
    }

    /// Makes one call, to the end of its last answer.
    async fn make(&self, sent_to: &SentTo) -> Result<(), Error> {
        let call = self.call.clone().sent_to(sent_to.clone());
        let mut answers = call.send(documents(&self.text)).await?;
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }

    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it has run.
    pub(super) fn ran(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many calls were due, and have not begun: answers took too long for the rate.
    pub(super) fn missed(&self) -> u64 {
        let Some(rate) = self.plan.rate else { return 0 };
        let due = (self.ran().min(self.plan.duration).as_secs_f64() * rate) as u64;
        due.min(self.plan.count.unwrap_or(u64::MAX)).saturating_sub(self.begun.load(Relaxed))
    }
}
