//! Drives any registry for ever: back-off after a failure, the last good set meanwhile, and how stale that is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_core::stream::BoxStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::backoff::Backoff;
use crate::mark::Marks;
use crate::record::Service;
use crate::registry::{Error, Registry};

/// The whole sets of one service: what they are now, then each time they change.
///
/// Never ends and never errs. When the registry's stream ends, errs or panics it is started again within a second, and
/// more rarely when that goes on for minutes, at least every 10 s; consumers simply keep what they were given last.
/// The failures are in [`status`](Self::status) and in the log.
#[must_use = "a watch does nothing unless polled"]
pub struct Watch {
    registry: Arc<dyn Registry>,
    name: String,
    state: State,
    backoff: Backoff,
    /// Stands for the set that was given last.
    last: Option<u64>,
    marks: Marks,
    status: Status,
}

enum State {
    Idle,
    Streaming(BoxStream<'static, Result<Vec<Service>, Error>>),
    Waiting(Pin<Box<Sleep>>),
}

const LONGEST_WAIT: Duration = Duration::from_secs(10);
const PANICKED: &str = "the registry panicked";

impl Watch {
    /// Watches the service `name`. The registry is asked when the watch is first polled.
    pub fn new(registry: Arc<dyn Registry>, name: impl Into<String>) -> Self {
        Self {
            registry,
            name: name.into(),
            state: State::Idle,
            backoff: Backoff::new(LONGEST_WAIT, fastrand::Rng::new()),
            last: None,
            marks: Marks::default(),
            status: Status::default(),
        }
    }

    /// Makes the waits after failures the same in every run.
    pub fn seed(mut self, seed: u64) -> Self {
        self.backoff = Backoff::new(LONGEST_WAIT, fastrand::Rng::with_seed(seed));
        self
    }

    /// How the watch is doing, from now on; to be taken before the watch is given away.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    fn start(&mut self) {
        let (registry, name) = (&self.registry, &self.name);
        self.state = match catch_unwind(AssertUnwindSafe(|| registry.watch(name))) {
            Ok(sets) => State::Streaming(sets),
            Err(_) => self.failed(PANICKED),
        };
    }

    fn succeeded(&mut self) {
        self.backoff.reset();
        let recovered = self.status.set(|seen| {
            seen.last_ok = Some(Instant::now());
            seen.stale_since.take().is_some()
        });
        if recovered {
            tracing::info!(service = self.name, registry = self.registry.backend(), "watching again");
        }
    }

    /// Notes the failure and waits.
    fn failed(&mut self, error: &str) -> State {
        let wait = self.backoff.wait();
        let first = self.status.set(|seen| {
            let first = seen.stale_since.is_none();
            seen.stale_since.get_or_insert_with(Instant::now);
            seen.last_error = Some(error.to_owned());
            first
        });
        let (service, registry) = (&self.name, self.registry.backend());
        if first {
            tracing::warn!(service, registry, error, "watch failed: keeping the last good set");
        } else {
            tracing::debug!(service, registry, error, ?wait, "watch still fails");
        }
        State::Waiting(Box::pin(sleep(wait)))
    }
}

impl Stream for Watch {
    type Item = Vec<Service>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<Service>>> {
        let this = &mut *self;
        loop {
            let polled = match &mut this.state {
                State::Idle => {
                    this.start();
                    continue;
                }
                State::Waiting(wait) => {
                    ready!(wait.as_mut().poll(cx));
                    this.state = State::Idle;
                    continue;
                }
                State::Streaming(sets) => {
                    match catch_unwind(AssertUnwindSafe(|| sets.as_mut().poll_next(cx))) {
                        Ok(polled) => ready!(polled).map(|set| set.map_err(|error| error.report())),
                        Err(_) => Some(Err(PANICKED.to_owned())),
                    }
                }
            };
            match polled {
                Some(Ok(set)) => {
                    this.succeeded();
                    let mark = this.marks.set(&set);
                    if this.last.replace(mark) != Some(mark) {
                        return Poll::Ready(Some(set));
                    }
                }
                Some(Err(error)) => this.state = this.failed(&error),
                None => this.state = this.failed("the registry's stream ended"),
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, name, status, .. } = self;
        f.debug_struct("Watch")
            .field("registry", registry)
            .field("name", name)
            .field("status", status)
            .finish_non_exhaustive()
    }
}

/// How a [`Watch`] is doing. Clones look at the same watch, which may be gone meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Status {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    last_ok: Option<Instant>,
    last_error: Option<String>,
    stale_since: Option<Instant>,
}

impl Status {
    /// Whether the registry has answered at all, be it with an empty set.
    pub fn resolved(&self) -> bool {
        self.last_ok().is_some()
    }

    /// When the registry last gave a set. A quiet registry gives none, so this being long ago means nothing
    /// unless [`stale_since`](Self::stale_since) says so.
    pub fn last_ok(&self) -> Option<Instant> {
        self.set(|seen| seen.last_ok)
    }

    /// The latest failure and its causes, even when it is over.
    pub fn last_error(&self) -> Option<String> {
        self.set(|seen| seen.last_error.clone())
    }

    /// Since when the registry fails and the last good set stands in; none while all is well.
    pub fn stale_since(&self) -> Option<Instant> {
        self.set(|seen| seen.stale_since)
    }

    fn set<R>(&self, f: impl FnOnce(&mut Seen) -> R) -> R {
        f(&mut self.seen.lock().expect("nothing under this lock can panic"))
    }
}
