//! A bounded queue with any number of takers, to which what was taken can be handed back.
//!
//! Publishers append at the tail and members take from the head, each under a lock of its own. The head takes over the
//! whole tail when it has run dry, so the two sides meet once in a while and not at every event.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::queued::Queued;
use crate::subscribe::Subscribe;

/// How many bytes of bodies wait in one queue, unless a single body is larger.
const MAX_BYTES: usize = 64 << 20;
/// Room for so many events is worth the wake of waiting publishers, or an eighth of a small queue.
const WORTH_A_WAKE: usize = 64;

/// The events of one group, or of one broadcast subscriber.
#[derive(Debug)]
pub(crate) struct Queue {
    topic: Arc<str>,
    group: Option<Arc<str>>,
    name: String,
    capacity: usize,
    space: Arc<Notify>,
    // Locked before the tail, where both are.
    head: Apart<Mutex<VecDeque<Queued>>>,
    gone: Apart<Gone>,
    tail: Apart<Mutex<Tail>>,
}

/// Keeps what publishers write and what members write out of each other's cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// What members say. The counts run on for ever; their differences to those of [`Tail`] are what is there.
#[derive(Debug, Default)]
struct Gone {
    /// Events settled. What is in hand or waits out a back-off is not, and counts against the capacity.
    events: AtomicUsize,
    /// Bytes of the bodies taken.
    bytes: AtomicUsize,
    /// Publishers may be waiting for space; spares the others the notification.
    crowded: AtomicBool,
}

#[derive(Debug, Default)]
struct Tail {
    ready: VecDeque<Queued>,
    /// Events ever appended, and the bytes of their bodies.
    events: usize,
    bytes: usize,
    /// What may be appended before asking again what is gone.
    room: Room,
    waiting: Vec<(u64, Waker)>,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Room {
    events: usize,
    bytes: usize,
}

impl Queue {
    pub(crate) fn new(subscribe: &Subscribe) -> Self {
        Self {
            topic: subscribe.topic.clone(),
            group: subscribe.group.clone(),
            name: subscribe.describe(),
            capacity: subscribe.buffer,
            space: Arc::default(),
            head: Apart::default(),
            gone: Apart::default(),
            tail: Apart::default(),
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

    /// Takes the event there is and appends it, unless the queue is full: then it stays where it is. An event is moved once
    /// on its way: they are large.
    pub(crate) fn push(&self, event: &mut Option<Queued>) -> bool {
        let mut tail = self.tail();
        if !self.has_room_in(&mut tail) {
            return false;
        }
        if let Some(event) = event.take() {
            tail.append(event);
        }
        wake(tail);
        true
    }

    /// Appends events for as long as there is room, drops the rest, and says how many those are. Members hear of all of
    /// them at once, instead of waking and sleeping between one and the next.
    #[cfg(feature = "nats")]
    pub(crate) fn push_all(&self, events: impl Iterator<Item = Queued>) -> u64 {
        let (mut tail, mut dropped) = (self.tail(), 0);
        for event in events {
            if self.has_room_in(&mut tail) {
                tail.append(event);
            } else {
                dropped += 1;
            }
        }
        wake(tail);
        dropped
    }

    /// Appends an event to a queue that had room a moment ago; publishers racing for it overshoot by one each.
    pub(crate) fn push_anyway(&self, event: Queued) {
        let mut tail = self.tail();
        tail.append(event);
        wake(tail);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.has_room_in(&mut self.tail())
    }

    fn has_room_in(&self, tail: &mut Tail) -> bool {
        if tail.room.is_some() || tail.closed {
            return true;
        }
        tail.room = self.room(tail);
        if !tail.room.is_some() {
            // Whoever settles an event after this looks at the flag; whoever did before is seen by looking again.
            self.gone.0.crowded.store(true, Ordering::SeqCst);
            tail.room = self.room(tail);
        }
        tail.room.is_some()
    }

    fn room(&self, tail: &Tail) -> Room {
        let present = tail.events.wrapping_sub(self.gone.0.events.load(Ordering::SeqCst));
        let waiting = tail.bytes.wrapping_sub(self.gone.0.bytes.load(Ordering::Relaxed));
        Room { events: self.capacity.saturating_sub(present), bytes: MAX_BYTES.saturating_sub(waiting) }
    }

    /// Whether everything has been settled.
    #[cfg(feature = "http")]
    pub(crate) fn is_idle(&self) -> bool {
        let tail = self.tail();
        tail.closed || tail.events == self.gone.0.events.load(Ordering::SeqCst)
    }

    /// Resolves when there is room for several events. A publisher that waited in vain looks once more: there may be
    /// room for one.
    pub(crate) fn space(&self) -> Pin<Box<OwnedNotified>> {
        let mut space = Box::pin(self.space.clone().notified_owned());
        space.as_mut().enable();
        space
    }

    pub(crate) fn close(&self) {
        let mut head = self.head();
        let mut tail = self.tail();
        tail.closed = true;
        head.clear();
        tail.ready.clear();
        drop(head);
        wake(tail);
        self.space.notify_waiters();
    }

    /// The next event for the member `id`, which is woken when there is one. `None` when the queue is closed.
    pub(crate) fn take(&self, id: u64, cx: &Context<'_>) -> Poll<Option<Queued>> {
        let mut head = self.head();
        if head.is_empty() {
            let mut tail = self.tail();
            if tail.closed {
                return Poll::Ready(None);
            }
            if tail.ready.is_empty() {
                tail.wait(id, cx.waker());
                return Poll::Pending;
            }
            std::mem::swap(&mut *head, &mut tail.ready);
        }
        let queued = head.pop_front();
        if let Some(queued) = &queued {
            self.count_taken(queued.body.len());
        }
        drop(head);
        Poll::Ready(queued)
    }

    /// Puts an event back at the front: what failed is older than what waits.
    pub(crate) fn put_back(&self, event: Queued) {
        let mut head = self.head();
        self.count_taken(event.body.len().wrapping_neg());
        let tail = self.tail();
        if !tail.closed {
            head.push_front(event);
        }
        drop(head);
        wake(tail);
    }

    /// Only called with the head locked, which is what makes reading and then writing enough.
    fn count_taken(&self, bytes: usize) {
        let before = self.gone.0.bytes.load(Ordering::Relaxed);
        self.gone.0.bytes.store(before.wrapping_add(bytes), Ordering::Relaxed);
    }

    pub(crate) fn settled(&self) {
        self.gone.0.events.fetch_add(1, Ordering::SeqCst);
        // Publishers wake to room for several events, so that a full queue is not paid for with a wake at each.
        if self.gone.0.crowded.load(Ordering::SeqCst)
            && self.room(&self.tail()).events >= (self.capacity / 8).clamp(1, WORTH_A_WAKE)
        {
            self.gone.0.crowded.store(false, Ordering::SeqCst);
            self.space.notify_waiters();
        }
    }

    /// Wakes a member no more.
    pub(crate) fn leave(&self, id: u64) {
        self.tail().waiting.retain(|(other, _)| *other != id);
    }

    fn head(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.head.0.lock().expect("no user code runs under this lock")
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.0.lock().expect("no user code runs under this lock")
    }
}

impl Tail {
    fn append(&mut self, event: Queued) {
        self.events = self.events.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(event.body.len());
        self.room.events = self.room.events.saturating_sub(1);
        self.room.bytes = self.room.bytes.saturating_sub(event.body.len());
        if !self.closed {
            self.ready.push_back(event);
        }
    }

    fn wait(&mut self, id: u64, waker: &Waker) {
        match self.waiting.iter_mut().find(|(other, _)| *other == id) {
            Some((_, known)) => known.clone_from(waker),
            None => self.waiting.push((id, waker.clone())),
        }
    }
}

impl Room {
    fn is_some(self) -> bool {
        self.events > 0 && self.bytes > 0
    }
}

/// Wakes every waiting member: one alone might be busy elsewhere while the others sleep.
fn wake(mut tail: MutexGuard<'_, Tail>) {
    if tail.waiting.len() > 1 {
        let waiting = std::mem::take(&mut tail.waiting);
        drop(tail);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    } else if let Some((_, waker)) = tail.waiting.pop() {
        drop(tail);
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn queue(capacity: usize) -> Queue {
        Queue::new(&Subscribe::to("t").buffer(capacity))
    }

    fn take(queue: &Queue) -> Option<Queued> {
        match queue.take(0, &Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    fn event(body: &'static str) -> Queued {
        Event::new("t", body).into()
    }

    fn push(queue: &Queue, event: Queued) -> bool {
        queue.push(&mut Some(event))
    }

    #[test]
    fn what_is_in_hand_takes_room_until_it_is_settled() {
        let queue = queue(2);
        assert!(push(&queue, event("1")) && push(&queue, event("2")));
        let mut third = Some(event("3"));
        assert!(!queue.push(&mut third) && third.is_some(), "what is refused stays with who brought it");
        let first = take(&queue).unwrap();
        assert!(!queue.has_room(), "it is in hand");
        queue.put_back(first);
        assert_eq!(take(&queue).unwrap().body, "1", "what is handed back comes first");
        queue.settled();
        assert!(push(&queue, event("3")) && !queue.has_room());
    }

    #[test]
    fn bodies_are_bounded_by_their_bytes() {
        let queue = queue(1_000);
        let large = bytes::Bytes::from(vec![0; MAX_BYTES / 2]);
        for _ in 0..2 {
            assert!(push(&queue, Event::new("t", large.clone()).into()));
        }
        assert!(!queue.has_room());
        assert!(take(&queue).is_some());
        assert!(queue.has_room());
    }

    #[test]
    fn a_closed_queue_ends_and_takes_nothing() {
        let queue = queue(1);
        assert!(push(&queue, event("1")));
        queue.close();
        assert!(push(&queue, event("2")), "nobody waits for room that never comes");
        assert!(take(&queue).is_none());
        queue.put_back(event("3"));
        assert!(take(&queue).is_none());
    }
}
