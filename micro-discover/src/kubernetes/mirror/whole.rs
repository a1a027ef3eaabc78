//! Learns the whole state, by a list or by a watch that begins with it, and takes it at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Change, Known, Mirror, Object, name, parse};
use crate::kubernetes::failure::{Failure, Kind};
use crate::kubernetes::lines::Lines;
use crate::kubernetes::slice::Event;

/// How long a watch that promised the whole state may take to give it.
const WHOLE_STATE: Duration = Duration::from_secs(30);
/// After this long an older state is a restored cluster, not a cache that lags.
const PAST: Duration = Duration::from_secs(120);

impl<T: Object> Mirror<T> {
    /// Reads every page aside, then takes the whole.
    pub(super) async fn list(&mut self) -> Result<(), Failure> {
        let (all, version) = self.api.list::<T>(&self.what).await?;
        self.take(all.into_iter().map(|item| (name(&item), item)).collect(), version)
    }

    /// Reads the initial events aside, then takes the whole and goes on with the same stream.
    pub(super) async fn watch_list(&mut self, lasting: Duration) -> Result<Lines, Failure> {
        let mut lines = self.api.watch(&self.what, None, lasting).await?;
        let mut all: BTreeMap<String, T> = BTreeMap::new();
        let whole = async {
            loop {
                let batch = lines.next().await?;
                if batch.is_empty() {
                    return Err(Failure::new(Kind::Other, "a watch ended before the whole state had come"));
                }
                let mut events = batch.iter();
                while let Some(line) = events.next() {
                    match parse(line)? {
                        Event::Applied(object) => drop(all.insert(name(&object), object)),
                        Event::Deleted(object) => drop(all.remove(&name(&object))),
                        Event::Bookmark(metadata, true) => {
                            return Ok((metadata.resource_version, events.cloned().collect::<Vec<_>>()));
                        }
                        Event::Bookmark(..) | Event::Unknown => {}
                        Event::Failed(status) => return Err(Failure::in_stream(&status)),
                    }
                }
            }
        };
        let Ok(whole) = timeout(WHOLE_STATE, whole).await else {
            return Err(Failure::new(
                Kind::Unsupported,
                "a watch does not come to the end of the initial state",
            ));
        };
        let (version, rest) = whole?;
        self.take(all, version)?;
        for line in rest {
            self.apply(parse(&line)?)?;
        }
        Ok(lines)
    }

    /// Replaces everything, unless that would go back in time.
    fn take(&mut self, all: BTreeMap<String, T>, version: String) -> Result<(), Failure> {
        if version.is_empty() {
            return Err(Failure::new(Kind::Other, "a list has no version"));
        }
        let number = version.parse::<u64>().unwrap_or(self.newest);
        if number < self.newest {
            let since = *self.past_since.get_or_insert_with(Instant::now);
            if since.elapsed() < PAST {
                let newest = self.newest;
                let what = format!("the state of version {number} is older than {newest}, which is known");
                return Err(Failure::new(Kind::Other, what));
            }
            tracing::warn!(number, newest = self.newest, "the cluster has gone back in time");
        }
        self.past_since = None;
        self.newest = number;
        self.known = all.iter().map(|(name, object)| (name.clone(), Known::of(object))).collect();
        self.changes = vec![Change::All(all.into_values().collect())];
        self.version = Some(version);
        Ok(())
    }
}
