//! One taker of a queue: the stream of a subscription, and what it has in hand.

use std::any::Any;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::task::coop;

use crate::confirm::Confirm;
use crate::event::Event;
use crate::queue::Queue;
use crate::queued::Queued;
use crate::settle::Settle;

/// So many events cost a task one unit of its budget, of which tokio gives it 128 until others have their turn: an event
/// out of memory takes a small part of what anything from a socket does, and a turn more than a dozen of them.
const A_UNIT: usize = 32;

/// One taker: the stream of a subscription.
#[derive(Debug)]
pub(crate) struct Member<P> {
    id: u64,
    hand: Arc<Hand<P>>,
    /// Events taken so far. Those that the hand has not let go are held: it alone writes where others do, and this is free.
    taken: usize,
    /// Lives as long.
    _kept: Option<Box<dyn Any + Send + Sync>>,
}

/// What one taker holds, and what it does with what fails.
#[derive(Debug)]
pub(crate) struct Hand<P> {
    policy: P,
    queue: Arc<Queue>,
    limit: usize,
    let_go: AtomicUsize,
    /// The taker holds as many as it may, and may wait to hold less.
    is_full: AtomicBool,
    full: AtomicWaker,
}

impl<P> Member<P> {
    /// A taker that holds at most `limit` events at a time.
    pub(crate) fn new(queue: Arc<Queue>, limit: usize, policy: P) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (let_go, is_full, full) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicWaker::new());
        let hand = Hand { policy, queue, limit, let_go, is_full, full };
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), hand: Arc::new(hand), taken: 0, _kept: None }
    }

    /// Drops `what` when it is dropped itself.
    pub(crate) fn keep(mut self, what: impl Send + Sync + 'static) -> Self {
        self._kept = Some(Box::new(what));
        self
    }

    pub(crate) fn policy(&self) -> &P {
        &self.hand.policy
    }
}

impl<P> Stream for Member<P> {
    type Item = (Queued, Arc<Hand<P>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let member = &mut *self;
        let hand = &member.hand;
        if member.taken.wrapping_sub(hand.let_go.load(Ordering::SeqCst)) >= hand.limit {
            hand.full.register(cx.waker());
            // Whoever lets go of an event after this looks at the flag; whoever did before is seen by looking again.
            hand.is_full.store(true, Ordering::SeqCst);
            if member.taken.wrapping_sub(hand.let_go.load(Ordering::SeqCst)) >= hand.limit {
                return Poll::Pending;
            }
        }
        if member.taken.is_multiple_of(A_UNIT) {
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        let Some(mut event) = ready!(hand.queue.take(member.id, cx)) else { return Poll::Ready(None) };
        member.taken = member.taken.wrapping_add(1);
        event.attempt += 1;
        Poll::Ready(Some((event, hand.clone())))
    }
}

impl<P> Drop for Member<P> {
    fn drop(&mut self) {
        self.hand.queue.leave(self.id);
    }
}

impl<P> Hand<P> {
    pub(crate) fn policy(&self) -> &P {
        &self.policy
    }

    fn let_go(&self) {
        self.let_go.fetch_add(1, Ordering::SeqCst);
        if self.is_full.load(Ordering::SeqCst) && self.is_full.swap(false, Ordering::SeqCst) {
            self.full.wake();
        }
    }
}

impl<P: Debug + Send + Sync> Settle for Hand<P> {
    fn ack(&self) -> Confirm {
        self.queue.settled();
        self.let_go();
        Confirm::known(Ok(()))
    }

    fn nack(&self, event: Event, after: Duration) -> Confirm {
        let queue = self.queue.clone();
        self.let_go();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            queue.put_back(event.into());
        });
        Confirm::known(Ok(()))
    }

    fn release(&self, mut event: Event) {
        // Nobody looked at it, or nobody knows: the attempt counts, as it does with every broker.
        event.attempt = event.attempt.max(1);
        self.queue.put_back(event.into());
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::subscribe::Subscribe;

    #[tokio::test]
    async fn a_taker_that_never_waits_lets_others_have_their_turn() {
        let queue = Arc::new(Queue::new(&Subscribe::to("t").buffer(10_000)));
        for _ in 0..10_000 {
            assert!(queue.push(&mut Some(Event::new("t", "").into())));
        }
        let mut member = Member::new(queue.clone(), 10_000, ());
        let taking = tokio::spawn(async move {
            for _ in 0..10_000 {
                let (_, hand) = member.next().await.unwrap();
                hand.ack().await.unwrap();
            }
        });
        tokio::task::yield_now().await;
        assert!(!taking.is_finished(), "this task waits for its turn no longer than for a part of them");
        taking.await.unwrap();
    }
}
