//! Finds out whether a silent HTTP/2 peer is still there: regularly, and as soon as somebody doubts it.

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
/// A request that was given up without a word from the peer is a reason to ask at once. A peer that says nothing to that
/// for `patience` is silent: nothing more should be asked of this connection, and what is under way on it has the rest
/// of `timeout`.
///
/// The timer is not touched by traffic: when it fires, what was heard since decides.
pub(super) struct Keepalive {
    ping: PingPong,
    interval: Duration,
    timeout: Duration,
    patience: Duration,
    silent: bool,
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
    /// A PING is out because somebody doubts the peer; the timer runs for `patience`.
    Doubting,
    /// A PING is out; the timer runs for `timeout`.
    Asking,
}

impl Keepalive {
    pub(super) fn new(
        ping: PingPong,
        interval: Duration,
        timeout: Duration,
        patience: Duration,
        reads: Arc<AtomicUsize>,
    ) -> Self {
        let (timer, patience) = (Box::pin(sleep(interval)), patience.min(timeout));
        let state = State::Idle;
        Self { ping, interval, timeout, patience, silent: false, reads, reads_before: 0, timer, state }
    }

    /// Asks the peer at once, unless it is being asked.
    pub(super) fn doubt(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::Idle | State::Watching) {
            self.reads_before = self.reads.load(Relaxed);
            self.ask(cx, State::Doubting, self.patience);
        }
    }

    /// Whether a peer that was doubted had nothing to say.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Ready when the peer is to be given up. `open` says whether streams are.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, open: bool) -> Poll<()> {
        if self.state == State::Idle {
            if !open {
                return Poll::Pending;
            }
            self.watch();
        }
        if matches!(self.state, State::Asking | State::Doubting) && self.ping.poll_pong(cx).is_ready() {
            self.watch();
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let reads = self.reads.load(Relaxed);
            let heard = std::mem::replace(&mut self.reads_before, reads) != reads;
            match self.state {
                State::Asking if !heard => return Poll::Ready(()),
                State::Asking => self.set(State::Asking, self.timeout),
                State::Doubting if !heard => {
                    self.silent = true;
                    self.set(State::Asking, self.timeout.saturating_sub(self.patience));
                }
                _ if !open => {
                    self.state = State::Idle;
                    return Poll::Pending;
                }
                _ if heard => self.watch(),
                _ => self.ask(cx, State::Asking, self.timeout),
            }
        }
        Poll::Pending
    }

    fn watch(&mut self) {
        self.set(State::Watching, self.interval);
    }

    fn ask(&mut self, cx: &mut Context<'_>, state: State, wait: Duration) {
        // An error means that the connection is closing, which its own future reports.
        if self.ping.send_ping(Ping::opaque()).is_ok() {
            let _ = self.ping.poll_pong(cx);
        }
        self.set(state, wait);
    }

    fn set(&mut self, state: State, wait: Duration) {
        self.state = state;
        self.timer.as_mut().reset(Instant::now() + wait);
    }
}
