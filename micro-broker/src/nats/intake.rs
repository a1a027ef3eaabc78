//! What arrives for a subscription: its subscriber takes it from the connection, and what it is too slow for waits in its
//! queue.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::stream::StreamExt;
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::event::Event;
use crate::member::Feed;
use crate::nats::link::Status;
use crate::nats::wire::Reader;
use crate::queue::Queue;
use crate::subscription::Report;

/// How long what arrived may wait in the connection for a slow subscriber. There it is bounded by its number alone, 65 536.
const PATIENCE: Duration = Duration::from_millis(10);
/// How many messages are put into the queue at a time.
const CHUNK: usize = 128;

/// A subscriber's hold on what arrives. To hand each event from task to task costs more than all else about it, so
/// the subscriber's own task takes it where it is fast enough; another looks after that.
#[derive(Debug)]
pub(super) struct Intake {
    arrivals: Arc<Arrivals>,
    queue: Arc<Queue>,
    relief: AbortHandle,
}

#[derive(Debug)]
struct Arrivals {
    source: Mutex<Source>,
    told: Arc<Told>,
    waker: Waker,
}

#[derive(Debug)]
struct Source {
    subscriber: Subscriber,
    reader: Reader,
    ended: bool,
}

/// Who is told that something arrived, whichever of the two looked last: the subscriber, and who relieves it.
#[derive(Debug, Default)]
struct Told {
    subscriber: AtomicWaker,
    relief: Notify,
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.subscriber.wake();
        self.relief.notify_one();
    }
}

impl Intake {
    /// What `subscriber` receives on `topic`, or into `queue` after a while. The report tells what had no room there.
    pub(super) fn new(
        subscriber: Subscriber,
        topic: &Arc<str>,
        queue: Arc<Queue>,
        report: watch::Sender<Report>,
        status: watch::Receiver<Status>,
    ) -> Self {
        let told = Arc::new(Told::default());
        let source = Mutex::new(Source { subscriber, reader: Reader::new(topic), ended: false });
        let arrivals = Arc::new(Arrivals { source, waker: told.clone().into(), told });
        let relief = tokio::spawn(relieve(arrivals.clone(), queue.clone(), report, status)).abort_handle();
        Self { arrivals, queue, relief }
    }
}

impl Feed for Intake {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut source = self.arrivals.source();
        // Asked under the lock under which events go there: what is in the queue is older.
        if self.queue.is_stirred() {
            return Poll::Pending;
        }
        let mut next = source.poll(&self.arrivals.waker);
        if next.is_pending() {
            self.arrivals.told.subscriber.register(cx.waker());
            // Something may have arrived before the waker was in place.
            next = source.poll(&self.arrivals.waker);
        }
        next
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.relief.abort();
    }
}

impl Arrivals {
    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().expect("what runs under this lock cannot panic")
    }

    /// Puts what has arrived into the queue, and says how much that was. Locked until it is there, so that nobody gets
    /// what came later before it.
    fn unload(&self, into: &Queue, report: &watch::Sender<Report>) -> usize {
        let mut source = self.source();
        let mut events = Vec::new();
        while events.len() < CHUNK
            && let Poll::Ready(Some(event)) = source.poll(&self.waker)
        {
            events.push(event);
        }
        let moved = events.len();
        if moved > 0 {
            append(events, into, report);
        }
        moved
    }

    /// Nothing arrives any more.
    fn end(&self) {
        self.source().ended = true;
        self.told.subscriber.wake();
    }
}

impl Source {
    fn poll(&mut self, waker: &Waker) -> Poll<Option<Event>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = self.subscriber.poll_next_unpin(&mut Context::from_waker(waker));
        self.ended = matches!(next, Poll::Ready(None));
        next.map(|message| message.map(|message| self.reader.read(message)))
    }
}

/// Relieves a subscriber of what it has not taken, so that a slow one never holds up the others of the connection, and
/// tells how the connection fares. Rests while nothing arrives.
async fn relieve(
    arrivals: Arc<Arrivals>,
    queue: Arc<Queue>,
    report: watch::Sender<Report>,
    mut status: watch::Receiver<Status>,
) {
    let connections = status.borrow().connections;
    loop {
        let mut moved = false;
        while arrivals.unload(&queue, &report) > 0 {
            moved = true;
            tokio::task::yield_now().await;
        }
        // The last look found nothing, so the next arrival is told of.
        let rest = async {
            if !moved {
                arrivals.told.relief.notified().await;
            }
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            () = rest => {}
            Ok(()) = status.changed() => {
                let now = status.borrow_and_update().clone();
                if now.closed {
                    break;
                }
                report.send_modify(|report| {
                    report.connected = now.up;
                    report.restored = now.connections.saturating_sub(connections);
                    report.trouble = now.trouble;
                });
            }
        }
    }
    arrivals.end();
}

fn append(events: Vec<Event>, queue: &Queue, report: &watch::Sender<Report>) {
    let dropped = queue.push_all(events.into_iter());
    if dropped > 0 {
        let place =
            format!("{} is slower than its publishers: its buffer in this process is full", queue.name());
        report.send_modify(|report| {
            // Said once, when dropping begins; the count tells the rest.
            if report.dropped == 0 {
                tracing::warn!(place, "events are being dropped");
            }
            report.dropped += dropped;
            report.trouble = Some(place);
        });
    }
}
