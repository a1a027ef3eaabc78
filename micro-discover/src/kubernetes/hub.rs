//! One watch per name, shared by everyone who asks; it ends with the last of them.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;

use super::failure::Failure;
use super::member::Set;
use crate::record::Service;

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    set: Option<Arc<Set>>,
    failure: Option<Failure>,
    /// Counts what is worth telling.
    turn: u64,
}

/// Where a watch says what it knows.
#[derive(Clone)]
pub(super) struct Board {
    known: Arc<watch::Sender<Known>>,
    /// Watchers that were told of the failure and have not come back yet.
    owed: Arc<AtomicUsize>,
}

#[derive(Clone, Default)]
pub(super) struct Hub {
    boards: Arc<Mutex<HashMap<String, Board>>>,
}

/// A watcher that was told of a failure comes back within this time.
const RETURN: Duration = Duration::from_secs(15);

impl Board {
    /// The set as it is; all is well.
    pub(super) fn state(&self, set: Set) {
        self.owed.store(0, Ordering::Relaxed);
        self.known.send_if_modified(|known| {
            let same = known.failure.is_none() && known.set.as_deref() == Some(&set);
            if !same {
                *known = Known { set: Some(Arc::new(set)), failure: None, turn: known.turn + 1 };
            }
            !same
        });
    }

    /// The set stays as it was.
    pub(super) fn failed(&self, failure: Failure) {
        self.known.send_if_modified(|known| {
            let first = known.failure.as_ref().is_none_or(|known| known.kind != failure.kind);
            known.failure = Some(failure);
            known.turn += u64::from(first);
            first
        });
    }

    async fn unwatched(&self) {
        self.known.closed().await;
        if self.owed.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(RETURN).await;
        }
    }
}

impl Hub {
    /// What is known of `name`, by a `run` that is started when nobody else has.
    pub(super) fn watch<F, R>(&self, name: &str, run: F) -> BoxStream<'static, Result<Vec<Service>, Failure>>
    where
        F: FnOnce(Board) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let (hub, name) = (self.clone(), name.to_owned());
        let start = async move { hub.join(name, run) };
        stream::once(start).flat_map(|(board, known)| told(board, known)).boxed()
    }

    fn join<F, R>(&self, name: String, run: F) -> (Board, watch::Receiver<Known>)
    where
        F: FnOnce(Board) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut boards = self.boards();
        if let Some(board) = boards.get(&name) {
            return (board.clone(), board.known.subscribe());
        }
        let board = Board { known: Arc::new(watch::Sender::default()), owed: Arc::default() };
        let known = board.known.subscribe();
        boards.insert(name.clone(), board.clone());
        let leave = Leave { hub: self.clone(), name, board: board.clone() };
        let task = run(board.clone());
        tokio::spawn(async move {
            let mut task = std::pin::pin!(task);
            loop {
                tokio::select! {
                    () = &mut task => return,
                    () = leave.board.unwatched() => if leave.now() { return },
                }
            }
        });
        (board, known)
    }

    fn boards(&self) -> MutexGuard<'_, HashMap<String, Board>> {
        self.boards.lock().expect("nothing under this lock can panic")
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hub").field(&self.boards().len()).finish()
    }
}

/// Takes a watch off the list when it ends, however it does.
struct Leave {
    hub: Hub,
    name: String,
    board: Board,
}

impl Leave {
    /// Whether nobody has come back meanwhile.
    fn now(&self) -> bool {
        let mut boards = self.hub.boards();
        let gone = self.board.known.receiver_count() == 0;
        if gone {
            self.remove(&mut boards);
        }
        gone
    }

    fn remove(&self, boards: &mut HashMap<String, Board>) {
        if boards.get(&self.name).is_some_and(|board| Arc::ptr_eq(&board.known, &self.board.known)) {
            boards.remove(&self.name);
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.remove(&mut self.hub.boards());
    }
}

/// What one watcher is told: each set, and each failure once.
///
/// [`Watch`](crate::Watch) drops a stream that fails and asks again soon, for the news of a recovery: whoever comes
/// back is not told of the same failure again, and not given the set that failure has made stale.
fn told(board: Board, known: watch::Receiver<Known>) -> BoxStream<'static, Result<Vec<Service>, Failure>> {
    struct Told {
        known: watch::Receiver<Known>,
        owed: Arc<AtomicUsize>,
        seen: u64,
        failure: Option<Failure>,
    }
    let seen = {
        let now = known.borrow();
        let back = |owed: usize| owed.checked_sub(1);
        let returned = now.failure.is_some()
            && board.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back).is_ok();
        if returned { now.turn } else { 0 }
    };
    // The board itself must not be kept: its end is this stream's.
    let start = Told { known, owed: board.owed, seen, failure: None };
    stream::unfold(start, |mut told| async move {
        if let Some(failure) = told.failure.take() {
            told.owed.fetch_add(1, Ordering::Relaxed);
            return Some((Err(failure), told));
        }
        loop {
            let now = told.known.borrow_and_update().clone();
            if now.turn > told.seen {
                let first = told.seen == 0;
                told.seen = now.turn;
                match (now.set, now.failure) {
                    (Some(set), None) => return Some((Ok(set.services()), told)),
                    // Someone new: what was known last, then why it is stale.
                    (Some(set), Some(failure)) if first => {
                        told.failure = Some(failure);
                        return Some((Ok(set.services()), told));
                    }
                    (_, Some(failure)) => {
                        told.owed.fetch_add(1, Ordering::Relaxed);
                        return Some((Err(failure), told));
                    }
                    (None, None) => {}
                }
            }
            told.known.changed().await.ok()?;
        }
    })
    .boxed()
}
