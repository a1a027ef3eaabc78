//! The connections of an endpoint that are not in use.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Waker},
    time::Duration,
};

use hyper::client::conn::http1::SendRequest;
use micro_balance::Clock;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    runtime::Handle,
    task::AbortHandle,
};

use crate::transport::{begun::Begun, connect::Connector, io::Io, request::RequestBody};

/// A connection, with or without a task that reads and writes it.
pub(super) enum Connection<B> {
    /// Whoever has it reads and writes it.
    Bare(Box<Io>),
    Tasked(SendRequest<Begun<B>>),
}

impl<B> Connection<B> {
    fn is_tasked(&self) -> bool {
        matches!(self, Self::Tasked(_))
    }
}

/// Connections that are not in use.
pub(super) struct Pool<B> {
    shelf: Arc<Mutex<Shelf<B>>>,
    /// Counts what `since` is.
    clock: Clock,
    most: usize,
    timeout: Duration,
}

/// Each kind for itself: a request that needs no task leaves those that have one to others, or all would have one in the end.
struct Shelf<B> {
    bare: Stack<B>,
    tasked: Stack<B>,
    /// When one with a task was last let go because nobody had need of that.
    thinned: Option<Duration>,
    /// Who looks for those that are of no use any more.
    sweeper: Option<AbortHandle>,
}

/// Idle connections, the one used last at the end.
struct Stack<B>(VecDeque<Idle<B>>);

/// A connection whose last response has been handed out; one with a task is ready again once that was read.
struct Idle<B> {
    connection: Connection<B>,
    since: Duration,
}

/// Of what use an idle connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Ready,
    /// Its task has not heard yet that its last response was read.
    Soon,
    None,
}

const SWEEP_EACH: Duration = Duration::from_secs(1);
/// No more than one is let go each so often, so that few are made anew.
const THIN_EACH: Duration = Duration::from_secs(1);

impl<B: RequestBody> Pool<B> {
    pub(super) fn new(settings: &Connector) -> Self {
        Self {
            shelf: Arc::new(Mutex::new(Shelf::new())),
            clock: Clock::new(),
            most: settings.http1_max_idle,
            timeout: settings.http1_idle_timeout,
        }
    }

    /// Keeps `connection` for the next request. One with a task that its last request had no need of makes place in time for one
    /// without: else a burst of long bodies would leave tasks to all requests after it.
    pub(super) fn put(&self, connection: Connection<B>, needed: bool) {
        if self.most == 0 {
            return;
        }
        let since = self.clock.elapsed();
        let mut shelf = lock(&self.shelf);
        if !needed && shelf.thinned.is_none_or(|last| since >= last + THIN_EACH) {
            shelf.thinned = Some(since);
            return;
        }
        if shelf.len() >= self.most {
            shelf.drop_oldest();
        }
        shelf.of_kind(connection.is_tasked()).0.push_back(Idle { connection, since });
        if shelf.sweeper.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let sweep = sweep(Arc::downgrade(&self.shelf), self.clock.clone(), self.timeout);
            shelf.sweeper = Some(runtime.spawn(sweep).abort_handle());
        }
    }

    /// The connection used last, of those that are ready: one with a task or without, as is wanted, or else of the other kind.
    pub(super) fn take(&self, tasked: bool) -> Option<Connection<B>> {
        let (now, mut shelf) = (self.clock.elapsed(), lock(&self.shelf));
        let found = shelf.of_kind(tasked).take(now, self.timeout);
        found.or_else(|| shelf.of_kind(!tasked).take(now, self.timeout))
    }
}

impl<B> Drop for Pool<B> {
    fn drop(&mut self) {
        if let Some(sweeper) = lock(&self.shelf).sweeper.take() {
            sweeper.abort();
        }
    }
}

fn lock<B>(shelf: &Mutex<Shelf<B>>) -> MutexGuard<'_, Shelf<B>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets go of what is of no use any more, until nothing is idle.
async fn sweep<B>(shelf: Weak<Mutex<Shelf<B>>>, clock: Clock, timeout: Duration) {
    loop {
        tokio::time::sleep(SWEEP_EACH).await;
        let Some(shelf) = shelf.upgrade() else { return };
        let mut shelf = lock(&shelf);
        shelf.sweep(clock.elapsed(), timeout);
        if shelf.len() == 0 {
            shelf.sweeper = None;
            return;
        }
    }
}

impl<B> Shelf<B> {
    fn new() -> Self {
        Self { bare: Stack(VecDeque::new()), tasked: Stack(VecDeque::new()), thinned: None, sweeper: None }
    }

    fn len(&self) -> usize {
        self.bare.0.len() + self.tasked.0.len()
    }

    fn of_kind(&mut self, tasked: bool) -> &mut Stack<B> {
        if tasked { &mut self.tasked } else { &mut self.bare }
    }

    fn drop_oldest(&mut self) {
        let since = |stack: &Stack<B>| stack.0.front().map(|idle| idle.since);
        let tasked = match (since(&self.bare), since(&self.tasked)) {
            (Some(bare), Some(tasked)) => tasked < bare,
            (bare, _) => bare.is_none(),
        };
        self.of_kind(tasked).0.pop_front();
    }

    fn sweep(&mut self, now: Duration, timeout: Duration) {
        for stack in [&mut self.bare, &mut self.tasked] {
            stack.0.retain_mut(|idle| idle.of_use(now, timeout) != Use::None);
        }
    }
}

impl<B> Stack<B> {
    fn take(&mut self, now: Duration, timeout: Duration) -> Option<Connection<B>> {
        for at in (0..self.0.len()).rev() {
            match self.0.get_mut(at).map(|idle| idle.of_use(now, timeout)) {
                Some(Use::Ready) => return self.0.remove(at).map(|idle| idle.connection),
                Some(Use::None) => drop(self.0.remove(at)),
                Some(Use::Soon) | None => {}
            }
        }
        None
    }
}

impl<B> Idle<B> {
    /// For how long it has been idle; not at all where it came back after somebody looked at the clock, and before he had the
    /// pool.
    fn idle_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    fn of_use(&mut self, now: Duration, timeout: Duration) -> Use {
        if self.idle_for(now) >= timeout {
            return Use::None;
        }
        match &mut self.connection {
            Connection::Bare(io) => {
                if is_quiet(io) {
                    Use::Ready
                } else {
                    Use::None
                }
            }
            Connection::Tasked(sender) if sender.is_ready() => Use::Ready,
            Connection::Tasked(sender) if sender.is_closed() => Use::None,
            Connection::Tasked(_) => Use::Soon,
        }
    }
}

/// Whether the peer has neither closed `io` nor said what it was not asked for.
fn is_quiet(io: &mut Io) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(io).poll_read(&mut cx, &mut ReadBuf::new(&mut [0])).is_pending()
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::transport::io::Stream;

    type Kept = Connection<String>;

    /// A connection, and its far end.
    async fn connection(tasked: bool) -> (Kept, DuplexStream) {
        let (near, far) = duplex(64);
        if !tasked {
            return (Connection::Bare(Box::new(Io::new(Stream::Memory(near)))), far);
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        sender.ready().await.unwrap();
        (Connection::Tasked(sender), far)
    }

    fn pool(most: usize) -> Pool<String> {
        let mut settings = Connector::new();
        settings.http1_max_idle = most;
        Pool::new(&settings)
    }

    #[tokio::test]
    async fn who_needs_a_task_takes_a_connection_that_has_one_and_others_leave_it_to_him() {
        let pool = pool(8);
        let mut far = Vec::new();
        for tasked in [false, true, false, true] {
            let (connection, end) = connection(tasked).await;
            pool.put(connection, true);
            far.push(end);
        }
        let mut take = |wanted: bool| pool.take(wanted).map(|taken| taken.is_tasked());
        assert_eq!([false, false, false].map(&mut take), [Some(false), Some(false), Some(true)]);
        let (bare, _end) = connection(false).await;
        pool.put(bare, true);
        let mut take = |wanted: bool| pool.take(wanted).map(|taken| taken.is_tasked());
        assert_eq!([true, true, true].map(&mut take), [Some(true), Some(false), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_are_too_many_the_one_that_was_idle_longest_goes_whichever_it_is() {
        for first in [false, true] {
            let pool = pool(2);
            let mut far = Vec::new();
            for tasked in [first, !first, first] {
                let (connection, end) = connection(tasked).await;
                pool.put(connection, true);
                far.push(end);
                tokio::time::advance(Duration::from_millis(10)).await;
            }
            let left = [true, false].map(|tasked| lock(&pool.shelf).of_kind(tasked).0.len());
            assert_eq!(left, [1, 1], "{first}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_not_needed_is_let_go_one_each_second() {
        let (pool, began) = (pool(8), tokio::time::Instant::now());
        let mut far = Vec::new();
        for needed in [true, true, false, false] {
            let (connection, end) = connection(true).await;
            pool.put(connection, needed);
            far.push(end);
        }
        let mut left = Vec::new();
        while let Some(taken) = pool.take(false) {
            left.push(lock(&pool.shelf).len());
            tokio::time::advance(THIN_EACH / 2).await;
            pool.put(taken, false);
        }
        assert_eq!(left, [2, 2, 1, 1, 0, 0]);
        assert_eq!(began.elapsed(), 3 * THIN_EACH);
    }

    #[tokio::test]
    async fn a_connection_may_come_back_after_somebody_has_looked_at_the_clock() {
        let (connection, _far) = connection(true).await;
        let idle = Idle { connection, since: Duration::from_secs(2) };
        assert_eq!(idle.idle_for(Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(idle.idle_for(Duration::from_secs(5)), Duration::from_secs(3));
    }
}
