//! One taker of a queue: the stream of a subscription, and what it has in hand.

use std::any::Any;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::task::coop;

use crate::confirm::Confirm;
use crate::event::Event;
use crate::queue::Queue;
use crate::settle::Settle;

/// So many events cost a task one unit of its budget, of which tokio gives it 128 until others have their turn: an event
/// out of memory takes a small part of what anything from a socket does, and a turn more than a dozen of them.
const A_UNIT: u32 = 32;

/// One taker: the stream of a subscription.
#[derive(Debug)]
pub(crate) struct Member<P> {
    id: u64,
    hand: Arc<Hand<P>>,
    feed: Option<Box<dyn Feed>>,
    /// Events taken so far.
    taken: u32,
    /// Lives as long.
    _kept: Option<Box<dyn Any + Send + Sync>>,
}

/// Events on their way to a queue, which its one taker gets before they are in it.
#[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "only NATS has events elsewhere first"))]
pub(crate) trait Feed: Debug + Send {
    /// The next of them; `None` when no more will come. Nothing while older ones are in the queue.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>>;
}

/// What one taker holds, and what it does with what fails.
#[derive(Debug)]
pub(crate) struct Hand<P> {
    policy: P,
    queue: Arc<Queue>,
    limit: usize,
    held: AtomicUsize,
    /// The taker holds as many as it may, and waits to hold less.
    full: AtomicWaker,
}

impl<P> Member<P> {
    /// A taker that holds at most `limit` events at a time.
    pub(crate) fn new(queue: Arc<Queue>, limit: usize, policy: P) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let hand = Hand { policy, queue, limit, held: AtomicUsize::new(0), full: AtomicWaker::new() };
        let (id, hand) = (NEXT.fetch_add(1, Ordering::Relaxed), Arc::new(hand));
        Self { id, hand, feed: None, taken: 0, _kept: None }
    }

    /// Takes from `feed` as well.
    #[cfg(feature = "nats")]
    pub(crate) fn feed(mut self, feed: impl Feed + 'static) -> Self {
        self.feed = Some(Box::new(feed));
        self
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

/// The next event of a queue or of what feeds it.
#[cfg(feature = "nats")]
fn poll_fed(feed: &mut dyn Feed, queue: &Queue, id: u64, cx: &mut Context<'_>) -> Poll<Option<Event>> {
    // What is in the queue is older.
    if queue.is_stirred()
        && let Poll::Ready(event) = queue.take(id, cx)
    {
        return Poll::Ready(event);
    }
    let next = feed.poll_event(cx);
    if let Poll::Ready(Some(event)) = next {
        queue.pass();
        return Poll::Ready(Some(event));
    }
    match queue.take(id, cx) {
        Poll::Pending if next.is_ready() => {
            queue.close();
            Poll::Ready(None)
        }
        taken => taken,
    }
}

impl<P> Stream for Member<P> {
    type Item = (Event, Arc<Hand<P>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let member = &mut *self;
        let hand = &member.hand;
        if hand.is_full() {
            hand.full.register(cx.waker());
            // An event may have been settled before the waker was in place.
            if hand.is_full() {
                return Poll::Pending;
            }
        }
        if member.taken.is_multiple_of(A_UNIT) {
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        let next = match &mut member.feed {
            #[cfg(feature = "nats")]
            Some(feed) => poll_fed(&mut **feed, &hand.queue, member.id, cx),
            _ => hand.queue.take(member.id, cx),
        };
        let Some(mut event) = ready!(next) else { return Poll::Ready(None) };
        member.taken = member.taken.wrapping_add(1);
        hand.held.fetch_add(1, Ordering::AcqRel);
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

    fn is_full(&self) -> bool {
        self.held.load(Ordering::Acquire) >= self.limit
    }

    fn let_go(&self) {
        // Only who lets go of a full hand can be waited for.
        if self.held.fetch_sub(1, Ordering::AcqRel) == self.limit {
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
            queue.put_back(event);
        });
        Confirm::known(Ok(()))
    }

    fn release(&self, mut event: Event) {
        // Nobody looked at it, or nobody knows: the attempt counts, as it does with every broker.
        event.attempt = event.attempt.max(1);
        self.queue.put_back(event);
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::subscribe::Subscribe;

    fn queue() -> Arc<Queue> {
        Arc::new(Queue::new(&Subscribe::to("t").buffer(10_000)))
    }

    fn push(queue: &Queue, body: u32) {
        assert!(queue.push(&mut Some(Event::new("t", body.to_string()))));
    }

    #[tokio::test]
    async fn a_taker_that_never_waits_lets_others_have_their_turn() {
        let queue = queue();
        (0..10_000).for_each(|number| push(&queue, number));
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

    #[cfg(feature = "nats")]
    #[tokio::test]
    async fn what_waits_in_the_queue_comes_before_what_is_on_its_way_and_all_of_it_comes() {
        #[derive(Debug)]
        struct Numbers(std::ops::Range<u32>);
        impl Feed for Numbers {
            fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Option<Event>> {
                Poll::Ready(self.0.next().map(|number| Event::new("t", number.to_string())))
            }
        }
        let queue = queue();
        let mut member = Member::new(queue.clone(), 10, ()).feed(Numbers(2..5));
        let old = [0, 1].map(|number| Event::new("t", number.to_string()));
        assert_eq!(queue.push_all(old.into_iter()), 0);
        let mut taken = Vec::new();
        while let Some((event, hand)) = member.next().await {
            taken.push(event.body.clone());
            // The fourth fails the first time, and is older than what comes after it.
            match (&*event.body, event.attempt) {
                (b"3", 1) => hand.release(event),
                _ => hand.ack().await.unwrap(),
            }
        }
        assert_eq!(taken, ["0", "1", "2", "3", "3", "4"]);
    }
}
