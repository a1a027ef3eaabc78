//! Changes of files.

use std::path::PathBuf;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::matters;
use crate::command::failure::{Failure, Kind};

/// Waits for changes below some paths.
pub(super) struct Changes {
    changed: mpsc::Receiver<()>,
    /// Whether one was heard of that is not over.
    going_on: bool,
    _watcher: RecommendedWatcher,
}

/// Editors write in several steps: a change is over once it is quiet for so long.
const QUIET: Duration = Duration::from_millis(200);

impl Changes {
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self, Failure> {
        let cannot =
            |error: notify::Error| Failure::new(Kind::Other, "files cannot be watched").source(error);
        let (sender, changed) = mpsc::channel(1);
        let below = paths.to_vec();
        let told = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let change =
                matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
            if change && event.paths.iter().any(|path| matters(path, &below)) {
                // One that is waiting stands for all.
                sender.try_send(()).ok();
            }
        };
        let mut watcher = notify::recommended_watcher(told).map_err(cannot)?;
        for path in paths {
            let watched = watcher.watch(path, RecursiveMode::Recursive);
            watched.map_err(|error| cannot(error).tried(format!("to watch {}", path.display())))?;
        }
        Ok(Self { changed, going_on: false, _watcher: watcher })
    }

    /// The next change, once it is over. Dropping the future loses none.
    pub(super) async fn next(&mut self) {
        if !self.going_on {
            if self.changed.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            self.going_on = true;
        }
        while let Ok(Some(())) = timeout(QUIET, self.changed.recv()).await {}
        self.going_on = false;
    }
}
