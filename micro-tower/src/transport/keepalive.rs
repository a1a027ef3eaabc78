//! Finds out whether a silent HTTP/2 peer is still there.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Sends a PING after `interval` of silence while streams are open, and gives up `timeout` after that.
///
/// The timer is not touched by traffic: when it fires, what was heard since decides.
pub(super) struct Keepalive {
    ping: PingPong,
    interval: Duration,
    timeout: Duration,
    reads: Arc<AtomicUsize>,
    reads_before: usize,
    timer: Pin<Box<Sleep>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No stream is open; the timer does not run.
    Idle,
    /// The timer runs for `interval`.
    Watching,
    /// A PING is out; the timer runs for `timeout`.
    Asking,
}

impl Keepalive {
    pub(super) fn new(
        ping: PingPong,
        interval: Duration,
        timeout: Duration,
        reads: Arc<AtomicUsize>,
    ) -> Self {
        let timer = Box::pin(sleep(interval));
        Self { ping, interval, timeout, reads, reads_before: 0, timer, state: State::Idle }
    }

    /// Ready when the peer is to be given up. `open` says whether streams are.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, open: bool) -> Poll<()> {
        if self.state == State::Idle {
            if !open {
                return Poll::Pending;
            }
            self.watch();
        }
        if self.state == State::Asking && self.ping.poll_pong(cx).is_ready() {
            self.watch();
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let reads = self.reads.load(Relaxed);
            let heard = std::mem::replace(&mut self.reads_before, reads) != reads;
            match self.state {
                State::Asking if !heard => return Poll::Ready(()),
                State::Asking => self.set(State::Asking, self.timeout),
                _ if !open => {
                    self.state = State::Idle;
                    return Poll::Pending;
                }
                _ if heard => self.watch(),
                _ => self.ask(cx),
            }
        }
        Poll::Pending
    }

    fn watch(&mut self) {
        self.set(State::Watching, self.interval);
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        // An error means that the connection is closing, which its own future reports.
        if self.ping.send_ping(Ping::opaque()).is_ok() {
            let _ = self.ping.poll_pong(cx);
        }
        self.set(State::Asking, self.timeout);
    }

    fn set(&mut self, state: State, wait: Duration) {
        self.state = state;
        self.timer.as_mut().reset(Instant::now() + wait);
    }
}
