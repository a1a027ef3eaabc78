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

use crate::transport::{connect::Connector, io::Io, request::RequestBody};

/// A connection, with or without a task that reads and writes it.
pub(super) enum Connection<B> {
    /// Whoever has it reads and writes it.
    Bare(Box<Io>),
    Tasked(SendRequest<B>),
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

struct Shelf<B> {
    /// The one used last at the end.
    idle: VecDeque<Idle<B>>,
    /// Who looks for those that are of no use any more.
    sweeper: Option<AbortHandle>,
}

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

impl<B: RequestBody> Pool<B> {
    pub(super) fn new(settings: &Connector) -> Self {
        Self {
            shelf: Arc::new(Mutex::new(Shelf { idle: VecDeque::new(), sweeper: None })),
            clock: Clock::new(),
            most: settings.http1_max_idle,
            timeout: settings.http1_idle_timeout,
        }
    }

    /// Keeps `connection` for the next request.
    pub(super) fn put(&self, connection: Connection<B>) {
        if self.most == 0 {
            return;
        }
        let since = self.clock.elapsed();
        let mut shelf = lock(&self.shelf);
        if shelf.idle.len() >= self.most {
            shelf.idle.pop_front();
        }
        shelf.idle.push_back(Idle { connection, since });
        if shelf.sweeper.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let sweep = sweep(Arc::downgrade(&self.shelf), self.clock.clone(), self.timeout);
            shelf.sweeper = Some(runtime.spawn(sweep).abort_handle());
        }
    }

    /// The connection used last, of those that are ready; one with a task where that is wanted, if there is one.
    pub(super) fn take(&self, tasked: bool) -> Option<Connection<B>> {
        let (now, mut shelf) = (self.clock.elapsed(), lock(&self.shelf));
        let found = if tasked { shelf.take(now, self.timeout, Connection::is_tasked) } else { None };
        found.or_else(|| shelf.take(now, self.timeout, |_| true))
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
        if shelf.idle.is_empty() {
            shelf.sweeper = None;
            return;
        }
    }
}

impl<B> Shelf<B> {
    fn take(
        &mut self,
        now: Duration,
        timeout: Duration,
        fits: impl Fn(&Connection<B>) -> bool,
    ) -> Option<Connection<B>> {
        for at in (0..self.idle.len()).rev() {
            let idle = self.idle.get_mut(at).filter(|idle| fits(&idle.connection));
            match idle.map(|idle| idle.of_use(now, timeout)) {
                Some(Use::Ready) => return self.idle.remove(at).map(|idle| idle.connection),
                Some(Use::None) => drop(self.idle.remove(at)),
                Some(Use::Soon) | None => {}
            }
        }
        None
    }

    fn sweep(&mut self, now: Duration, timeout: Duration) {
        self.idle.retain_mut(|idle| idle.of_use(now, timeout) != Use::None);
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

    use super::*;

    #[tokio::test]
    async fn a_connection_may_come_back_after_somebody_has_looked_at_the_clock() {
        let (io, _far) = tokio::io::duplex(64);
        let (sender, _connection) = http1::handshake::<_, String>(TokioIo::new(io)).await.unwrap();
        let idle = Idle { connection: Connection::Tasked(sender), since: Duration::from_secs(2) };
        assert_eq!(idle.idle_for(Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(idle.idle_for(Duration::from_secs(5)), Duration::from_secs(3));
    }
}
