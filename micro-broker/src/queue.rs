//! A bounded queue with any number of takers, to which what was taken can be handed back.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::confirm::Confirm;
use crate::delivery::Settle;
use crate::event::Event;
use crate::subscribe::Subscribe;
use crate::subscription::Incoming;

/// How many bytes of bodies wait in one queue, unless a single body is larger.
const MAX_BYTES: usize = 64 << 20;

/// The events of one group, or of one broadcast subscriber.
#[derive(Debug)]
pub(crate) struct Queue {
    topic: Arc<str>,
    group: Option<Arc<str>>,
    name: String,
    capacity: usize,
    state: Mutex<State>,
    space: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Event>,
    /// Bytes of the bodies in `ready`.
    bytes: usize,
    /// Events taken and not settled, or waiting out a back-off. They count against the capacity.
    outstanding: usize,
    /// Publishers may be waiting for space; spares the others the notification.
    crowded: bool,
    waiting: Vec<(u64, Waker)>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(subscribe: &Subscribe) -> Self {
        Self {
            topic: subscribe.topic.clone(),
            group: subscribe.group.clone(),
            name: subscribe.describe(),
            capacity: subscribe.buffer,
            state: Mutex::default(),
            space: Arc::default(),
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_for(&self, subscribe: &Subscribe) -> bool {
        self.topic == subscribe.topic && self.group == subscribe.group
    }

    /// Appends an event, or returns it when the queue is full.
    #[expect(
        clippy::result_large_err,
        reason = "a refused event comes back by value: publishing allocates nothing"
    )]
    pub(crate) fn push(&self, event: Event) -> Result<(), Event> {
        let mut state = self.state();
        if state.is_full(self.capacity) {
            return Err(event);
        }
        state.append(event);
        Self::wake(state);
        Ok(())
    }

    /// Appends an event to a queue that had room a moment ago; publishers racing for it overshoot by one each.
    pub(crate) fn push_anyway(&self, event: Event) {
        let mut state = self.state();
        state.append(event);
        Self::wake(state);
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.state().is_full(self.capacity)
    }

    /// Whether everything has been settled.
    #[cfg(feature = "http")]
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.closed || (state.ready.is_empty() && state.outstanding == 0)
    }

    /// Resolves when there may be room.
    pub(crate) fn space(&self) -> Pin<Box<OwnedNotified>> {
        let mut space = Box::pin(self.space.clone().notified_owned());
        space.as_mut().enable();
        space
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.ready.clear();
        state.bytes = 0;
        Self::wake(state);
        self.space.notify_waiters();
    }

    /// Wakes every waiting taker: one alone might be busy elsewhere while the others sleep.
    fn wake(mut state: MutexGuard<'_, State>) {
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Puts an event back at the front: what failed is older than what waits.
    fn put_back(&self, event: Event) {
        let mut state = self.state();
        state.outstanding -= 1;
        if !state.closed {
            state.bytes += event.body.len();
            state.ready.push_front(event);
        }
        Self::wake(state);
    }

    fn settled(&self) {
        let mut state = self.state();
        state.outstanding -= 1;
        let crowded = std::mem::take(&mut state.crowded);
        drop(state);
        if crowded {
            self.space.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no user code runs under this lock")
    }
}

impl State {
    fn append(&mut self, event: Event) {
        self.bytes += event.body.len();
        self.ready.push_back(event);
    }

    fn is_full(&mut self, capacity: usize) -> bool {
        let crowded = self.ready.len() + self.outstanding >= capacity || self.bytes >= MAX_BYTES;
        let full = crowded && !self.closed;
        self.crowded |= full;
        full
    }
}

/// One taker: the stream of a subscription.
#[derive(Debug)]
pub(crate) struct Member {
    id: u64,
    hand: Arc<Hand>,
    limit: usize,
}

/// What one taker holds.
#[derive(Debug)]
struct Hand {
    queue: Arc<Queue>,
    held: AtomicUsize,
    /// The taker has as many as it may hold, and waits to hold less.
    waiting: Mutex<Option<Waker>>,
}

impl Member {
    pub(crate) fn new(queue: Arc<Queue>, limit: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
        Self {
            id,
            hand: Arc::new(Hand { queue, held: AtomicUsize::new(0), waiting: Mutex::default() }),
            limit,
        }
    }
}

impl Stream for Member {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let hand = &self.hand;
        if hand.held.load(Ordering::Acquire) >= self.limit {
            *hand.waiting.lock().expect("no user code runs under this lock") = Some(cx.waker().clone());
            // An event may have been settled before the waker was in place.
            if hand.held.load(Ordering::Acquire) >= self.limit {
                return Poll::Pending;
            }
        }
        let mut state = hand.queue.state();
        if state.closed {
            return Poll::Ready(None);
        }
        let Some(mut event) = state.ready.pop_front() else {
            match state.waiting.iter_mut().find(|(id, _)| *id == self.id) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => state.waiting.push((self.id, cx.waker().clone())),
            }
            return Poll::Pending;
        };
        state.outstanding += 1;
        state.bytes -= event.body.len();
        drop(state);
        hand.held.fetch_add(1, Ordering::AcqRel);
        event.attempt += 1;
        Poll::Ready(Some((event, hand.clone())))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hand.queue.state().waiting.retain(|(id, _)| *id != self.id);
    }
}

impl Hand {
    fn let_go(&self) {
        self.held.fetch_sub(1, Ordering::AcqRel);
        let waiting = self.waiting.lock().expect("no user code runs under this lock").take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl Settle for Hand {
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
