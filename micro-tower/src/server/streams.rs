//! Where the streams of an HTTP/2 connection run: where there is one thread, in the connection's own task.
//!
//! A task for each stream lets threads share the streams of one connection. One thread only waits longer: what comes in
//! together wakes all streams of all connections, and each connection writes when the last of them was polled. In the
//! connection's task its streams are polled one after the other, and what they answer is written before the next
//! connection's are.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hyper::rt::Executor;
use pin_project::pin_project;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::coop::has_budget_remaining,
};

use super::asked::{Asked, Part};

/// What hyper gives the streams to that begin. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Streams {
    /// Those that nobody has polled yet; none where each has a task.
    begun: Option<Arc<Mutex<Vec<BoxFuture<'static, ()>>>>>,
}

impl Streams {
    /// Streams that run as suits the runtime.
    pub(super) fn new() -> Self {
        let alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self { begun: alone.then(Arc::default) }
    }

    /// `connection` together with the streams that begin on it.
    pub(super) fn with<C>(&self, connection: C) -> WithStreams<C> {
        let (running, task) = (FuturesUnordered::new(), Waker::noop().clone());
        let (ours, theirs) = Default::default();
        WithStreams { connection, streams: self.clone(), running, starved: false, ours, theirs, task }
    }

    fn have_tasks(&self) -> bool {
        self.begun.is_none()
    }

    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        let Some(begun) = &self.begun else { return Vec::new() };
        std::mem::take(&mut *begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        match &self.begun {
            Some(begun) => begun.lock().unwrap_or_else(PoisonError::into_inner).push(stream.boxed()),
            None => {
                tokio::spawn(stream);
            }
        }
    }
}

/// A connection and its streams, which end with it.
#[pin_project]
pub(super) struct WithStreams<C> {
    #[pin]
    pub(super) connection: C,
    streams: Streams,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Whether the streams have left the connection nothing of what tokio lets a task do in its turn.
    starved: bool,
    /// What the connection is polled with: a stream that answers asks for it, and it has its turn anyhow.
    ours: Part,
    /// What the streams are polled with.
    theirs: Part,
    /// Whom both tell.
    task: Waker,
}

impl<C: Future> Future for WithStreams<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        if this.streams.have_tasks() {
            return this.connection.poll(cx);
        }
        let parts = [&*this.ours, &*this.theirs].map(Part::asked);
        if !this.task.will_wake(cx.waker()) {
            this.task.clone_from(cx.waker());
            parts.iter().for_each(|asked| asked.tell(cx.waker()));
        }
        parts.iter().for_each(|asked| asked.see());
        if !std::mem::take(this.starved) {
            // What those answer that were woken is written by the connection, which reads more then.
            poll_all(this.running, this.theirs);
            *this.starved = !has_budget_remaining();
        }
        this.ours.asked().take();
        let polled = this.connection.poll(&mut Context::from_waker(this.ours.waker()));
        // Those that begin, and those that the connection woke.
        this.running.extend(this.streams.take());
        poll_all(this.running, this.theirs);
        if parts.map(Asked::unsee).contains(&true) {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

/// Polls the streams that were woken.
fn poll_all(running: &mut FuturesUnordered<BoxFuture<'static, ()>>, part: &Part) {
    // When it has polled all it has, it asks to be polled again, and says only then whether anybody else has asked.
    for _ in 0..2 {
        part.asked().take();
        while !running.is_empty() {
            let mut cx = Context::from_waker(part.waker());
            // A panic is that of its stream, as in a task of its own: the others go on.
            let polled = catch_unwind(AssertUnwindSafe(|| running.poll_next_unpin(&mut cx)));
            if matches!(polled, Ok(Poll::Pending)) {
                break;
            }
        }
        if !part.asked().is() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::{sync::oneshot, task::coop::consume_budget};
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    /// What happened, in its order. Clones share it.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<&'static str>>>);

    impl Seen {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }

        fn all(&self) -> Vec<&'static str> {
            self.0.lock().unwrap().clone()
        }
    }

    /// A connection that is noted when it is polled, and can be asked for more.
    fn writing(seen: &Seen, writes: &Arc<Mutex<Waker>>) -> impl Future<Output = ()> + use<> {
        let (seen, writes) = (seen.clone(), writes.clone());
        poll_fn(move |cx| {
            seen.note("connection");
            writes.lock().unwrap().clone_from(cx.waker());
            Poll::Pending
        })
    }

    #[tokio::test]
    async fn one_thread_polls_a_stream_that_was_woken_before_its_connection_writes() {
        let (streams, seen) = (Streams::new(), Seen::default());
        let writes = Arc::new(Mutex::new(Waker::noop().clone()));
        let (answer, answered) = oneshot::channel::<()>();
        let (noting, write) = (seen.clone(), writes.clone());
        streams.execute(async move {
            noting.note("begins");
            answered.await.unwrap();
            noting.note("answers");
            write.lock().unwrap().wake_by_ref();
        });
        let mut both = task::spawn(streams.with(writing(&seen, &writes)));
        assert_pending!(both.poll());
        assert!(!both.is_woken());
        answer.send(()).unwrap();
        assert!(both.is_woken());
        assert_pending!(both.poll());
        assert_eq!(seen.all(), ["connection", "begins", "answers", "connection"]);
        assert!(!both.is_woken(), "the connection has had its turn");
        writes.lock().unwrap().wake_by_ref();
        assert!(both.is_woken(), "that was nothing that it has seen");
    }

    #[tokio::test]
    async fn what_a_stream_answers_as_it_begins_is_written_too() {
        let (streams, seen) = (Streams::new(), Seen::default());
        let writes = Arc::new(Mutex::new(Waker::noop().clone()));
        let write = writes.clone();
        streams.execute(async move { write.lock().unwrap().wake_by_ref() });
        let mut both = task::spawn(streams.with(writing(&seen, &writes)));
        assert_pending!(both.poll());
        assert!(both.is_woken());
        assert_pending!(both.poll());
        assert_eq!(seen.all(), ["connection", "connection"]);
        assert!(!both.is_woken());
    }

    #[tokio::test]
    async fn a_panic_is_that_of_its_stream() {
        let (streams, seen) = (Streams::new(), Seen::default());
        let noting = seen.clone();
        streams.execute(async { panic!("no") });
        streams.execute(async move { noting.note("the other goes on") });
        let mut both = task::spawn(streams.with(pending::<()>()));
        assert_pending!(both.poll());
        assert_eq!(seen.all(), ["the other goes on"]);
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_connection() {
        let streams = Streams::new();
        let (mut held, holds) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        streams.execute(async move { holds.await.unwrap() });
        let mut both = task::spawn(streams.with(ended));
        assert_pending!(both.poll());
        end.send(()).unwrap();
        assert_ready!(both.poll()).unwrap();
        drop(both);
        held.closed().await;
    }

    #[tokio::test]
    async fn a_connection_comes_to_its_turn_beside_a_stream_that_takes_all_of_it() {
        let streams = Streams::new();
        streams.execute(async {
            loop {
                consume_budget().await;
            }
        });
        let connection = async {
            for _ in 0..1000 {
                consume_budget().await;
            }
        };
        tokio::spawn(streams.with(connection)).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn threads_share_the_streams_of_a_connection() {
        let (end, ended) = oneshot::channel::<()>();
        Streams::new().execute(async move { end.send(()).unwrap() });
        ended.await.unwrap();
    }
}
