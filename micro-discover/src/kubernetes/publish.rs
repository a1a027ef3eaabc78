//! Turns what happens to slices into sets, some of them a moment later.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::hold::Hold;
use super::hub::Board;
use super::member::Set;
use super::mirror::{Change, News, Object};
use super::pool::Pool;
use super::slice::{Metadata, SERVICE_NAME, Slice};
use crate::record::Service;

impl Object for Slice {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// What is published of one Service, to whoever watches it.
pub(super) struct Publishing {
    service: String,
    pool: Pool,
    hold: Hold,
    degraded: bool,
    record: Service,
    board: Board,
}

impl Publishing {
    pub(super) fn new(service: String, pool: Pool, hold: Hold, record: Service, board: Board) -> Self {
        Self { service, pool, hold, degraded: false, record, board }
    }

    /// Hears until the news end, and tells the board each set that comes of them.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News<Slice>>) {
        let mut again: Option<Instant> = None;
        loop {
            let due = async {
                match again {
                    Some(again) => sleep_until(again).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                item = news.recv() => match item {
                    None => return,
                    Some(News::Failed(failure)) => {
                        self.board.failed(failure);
                        continue;
                    }
                    Some(News::Changed(changes)) => self.hear(changes),
                },
                () = due => {}
            }
            let (members, next) = self.hold.set(&self.pool, Instant::now());
            again = next;
            self.board.state(Set::Members(self.record.clone(), members));
        }
    }

    fn hear(&mut self, changes: Vec<Change<Slice>>) {
        let ours = |slice: &Slice| slice.metadata.labels.get(SERVICE_NAME) == Some(&self.service);
        for change in changes {
            match change {
                Change::All(slices) => self.pool.replace(slices.into_iter().filter(ours)),
                Change::Now(slice) if ours(&slice) => self.pool.put(slice),
                Change::Now(slice) => self.pool.remove(&slice.metadata.name),
                Change::Gone(name) => self.pool.remove(&name),
            }
        }
        self.hold.settle(&mut self.pool, Instant::now());
        let before = std::mem::replace(&mut self.degraded, self.pool.degraded());
        if self.degraded && !before {
            tracing::warn!(service = self.record.name, "no endpoint is ready: using those shutting down");
        }
    }
}
