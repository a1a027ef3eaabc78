//! Looks at the directory whenever it changes, for all watchers of this process, on one thread of its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{Event, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use super::store::{BACKEND, Store, Table};
use crate::registry::Error;

/// What the last look showed; none before the first.
pub(super) type News = Option<Result<Table, Trouble>>;

/// An error in words, for all who watch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trouble {
    what: String,
    source: String,
}

/// Hands out the news, and runs the thread while anyone reads them.
#[derive(Debug)]
pub(super) struct Feed {
    store: Arc<Store>,
    /// What the running thread sends to; its sender is gone when the thread is.
    news: Mutex<Option<watch::Receiver<News>>>,
}

/// How long a change may stay unseen when its notification is lost.
const RESCAN: Duration = Duration::from_secs(1);
/// The same where the system gives no notifications.
const POLL: Duration = Duration::from_millis(200);
/// The least time between two looks, so that a thousand heartbeats a second are not a thousand looks.
const SPACING: Duration = Duration::from_millis(5);

impl Feed {
    pub(super) fn new(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self { store, news: Mutex::default() })
    }

    /// The news from now on; starts the thread when none runs.
    pub(super) fn subscribe(self: &Arc<Self>) -> Result<watch::Receiver<News>, Error> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = news.as_ref().filter(|news| news.has_changed().is_ok()) {
            return Ok(running.clone());
        }
        let (sender, receiver) = watch::channel(None);
        let feed = self.clone();
        thread::Builder::new()
            .name("micro-registry".to_owned())
            .spawn(move || feed.run(&sender))
            .map_err(|error| self.store.failed("start a thread to watch", error))?;
        *news = Some(receiver.clone());
        Ok(receiver)
    }

    fn run(&self, sender: &watch::Sender<News>) {
        let (ring, rung) = sync_channel(1);
        let mut bell = Bell::new(ring);
        while !self.is_idle(sender) {
            let started = Instant::now();
            let armed = self.store.place.ensure().map(|()| bell.arm(&self.store.place.dir));
            let looked = armed.map_err(|error| self.store.failed("create", error));
            let looked = looked.and_then(|()| self.store.look()).map_err(Trouble::from);
            let next_end = looked.as_ref().ok().and_then(|table| table.next_end);
            sender.send_if_modified(|news| {
                let changed = differ(news.as_ref(), &looked);
                *news = Some(looked);
                changed
            });
            thread::sleep(SPACING.max(started.elapsed() * 8).min(POLL));
            let mut pause = if bell.is_armed() { RESCAN } else { POLL };
            if let Some(end) = next_end {
                pause = pause.min(end.saturating_duration_since(Instant::now()));
            }
            // The bell outlives this loop, so nobody hangs up.
            let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) =
                rung.recv_timeout(pause);
        }
    }

    /// Whether nobody reads any more; then the next subscriber starts a new thread.
    fn is_idle(&self, sender: &watch::Sender<News>) -> bool {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = sender.receiver_count() <= 1;
        if idle {
            *news = None;
        }
        idle
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable { what, source, .. } => Self { what, source: source.to_string() },
            error => Self { what: "look".to_owned(), source: error.to_string() },
        }
    }
}

impl From<&Trouble> for Error {
    fn from(trouble: &Trouble) -> Self {
        let Trouble { what, source } = trouble.clone();
        Self::Unavailable { backend: BACKEND, what, source: source.into() }
    }
}

/// A later end of a lease is no news.
fn differ(old: Option<&Result<Table, Trouble>>, new: &Result<Table, Trouble>) -> bool {
    match (old, new) {
        (Some(Ok(old)), Ok(new)) => old.revision != new.revision,
        (old, new) => old != Some(new),
    }
}

/// The system's notifications about a directory, which may be removed and made again at any time.
struct Bell {
    ring: SyncSender<()>,
    armed: Option<(RecommendedWatcher, Identity)>,
    warned: bool,
}

/// Tells a directory from another that took its path.
type Identity = (u64, u64, Option<std::time::SystemTime>);

impl Bell {
    fn new(ring: SyncSender<()>) -> Self {
        Self { ring, armed: None, warned: false }
    }

    /// Rings from now on when something changes in `dir`.
    fn arm(&mut self, dir: &Path) {
        let Ok(identity) = identity(dir) else { return self.armed = None };
        if self.armed.as_ref().is_some_and(|(_, armed)| *armed == identity) {
            return;
        }
        // The old watcher goes first: a user has few of them.
        self.armed = None;
        match watcher(dir, self.ring.clone()) {
            Ok(watcher) => self.armed = Some((watcher, identity)),
            Err(error) if !self.warned => {
                self.warned = true;
                tracing::warn!(registry = BACKEND, %error, "no notifications: looking every {POLL:?}");
            }
            Err(_) => {}
        }
    }

    fn is_armed(&self) -> bool {
        self.armed.is_some()
    }
}

fn watcher(dir: &Path, ring: SyncSender<()>) -> notify::Result<RecommendedWatcher> {
    let of = dir.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| matters(&event, &of)) {
            // Full means that it rings already.
            ring.try_send(()).ok();
        }
    })?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Whether a record may have changed: work on temporary files and reading are no news.
fn matters(event: &Event, dir: &PathBuf) -> bool {
    let record = |path: &PathBuf| path == dir || path.extension().is_some_and(|end| end == "json");
    event.need_rescan() || (!matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(record))
}

#[cfg(unix)]
fn identity(dir: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(dir).map(|found| (found.dev(), found.ino(), found.created().ok()))
}

#[cfg(not(unix))]
fn identity(dir: &Path) -> std::io::Result<Identity> {
    std::fs::metadata(dir).map(|found| (0, 0, found.created().ok()))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag};

    use super::*;

    #[test]
    fn a_queue_of_the_system_that_has_run_over_is_a_reason_to_look() {
        let dir = PathBuf::from("/r");
        assert!(matters(&Event::new(EventKind::Other).set_flag(Flag::Rescan), &dir));
        let of = |path: &str| Event::new(EventKind::Create(CreateKind::File)).add_path(dir.join(path));
        assert!(matters(&of("a.json"), &dir) && !matters(&of(".a.json.1.tmp"), &dir));
    }
}
