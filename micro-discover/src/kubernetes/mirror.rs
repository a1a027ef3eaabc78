//! Keeps a copy of a collection of the API server: list, watch, resume, relist, for ever.

mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::api::{Api, Collection};
use super::failure::{Failure, Kind};
use super::json::Read;
use super::lines::Lines;
use super::retry::Retry;
use super::slice::{Event, Metadata};

/// What has a name, a uid and a version.
pub(super) trait Object: Read + Send {
    fn metadata(&self) -> &Metadata;
}

/// How to learn the whole state at the start and after a loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initial {
    /// One watch that starts with the whole state, where the server offers it, else as [`List`](Self::List). Needs the
    /// verb `watch`, and `list` for the fallback.
    #[default]
    WatchList,
    /// A list in pages, then a watch. Needs the verbs `list` and `watch`.
    List,
}

/// What is new, in order.
#[derive(Debug)]
pub(super) enum News<T> {
    /// The server is there, and this has happened since it was heard of last.
    Changed(Vec<Change<T>>),
    /// The server is not; the objects stay as they were.
    Failed(Failure),
}

/// What happens to the objects of a collection.
#[derive(Debug)]
pub(super) enum Change<T> {
    /// These are all there are.
    All(Vec<T>),
    /// This one is new, or looks like this now.
    Now(T),
    /// The one of this name is gone.
    Gone(String),
}

/// What tells one state of an object from another.
#[derive(Debug)]
struct Known {
    uid: String,
    version: Option<u64>,
}

impl Known {
    fn of<T: Object>(object: &T) -> Self {
        let Metadata { uid, resource_version, .. } = object.metadata();
        Self { uid: uid.clone(), version: resource_version.parse().ok() }
    }

    /// Whether this is a later state of the same object.
    fn newer(&self, other: &Self) -> bool {
        self.uid == other.uid && self.version.zip(other.version).is_some_and(|(known, new)| known > new)
    }
}

pub(super) struct Mirror<T> {
    api: Arc<Api>,
    what: Collection,
    initial: Initial,
    lasting: Duration,
    retry: Retry,
    known: BTreeMap<String, Known>,
    /// What nobody was told of yet.
    changes: Vec<Change<T>>,
    /// Where to resume; none: from the beginning.
    version: Option<String>,
    /// The newest state ever known: the past is not believed.
    newest: u64,
    past_since: Option<Instant>,
    resumes: u32,
}

/// Resumes refused in a row before starting over.
const MOST_RESUMES: u32 = 3;
const LONG_LIVED: Duration = Duration::from_secs(5);

impl<T: Object> Mirror<T> {
    pub(super) fn new(
        api: Arc<Api>,
        what: Collection,
        initial: Initial,
        lasting: Duration,
        retry: Retry,
    ) -> Self {
        Self {
            api,
            what,
            initial,
            lasting,
            retry,
            known: BTreeMap::new(),
            changes: Vec::new(),
            version: None,
            newest: 0,
            past_since: None,
            resumes: 0,
        }
    }

    /// Runs until nobody listens to `news`. Says nothing of the objects before all of them are known.
    pub(super) async fn run(mut self, news: mpsc::Sender<News<T>>) {
        while !news.is_closed() {
            let started = Instant::now();
            let wait = match self.once(&news).await {
                Ok(()) if started.elapsed() >= LONG_LIVED => Duration::ZERO,
                Ok(()) => self.retry.ended(),
                Err(failure) => {
                    let wait = self.failed(&failure);
                    if !wait.is_zero() {
                        tracing::debug!(?failure, ?wait, resource = self.what.resource, "asking again");
                        drop(news.send(News::Failed(failure)).await);
                    }
                    wait
                }
            };
            sleep(wait).await;
        }
    }

    fn failed(&mut self, failure: &Failure) -> Duration {
        match failure.kind {
            Kind::Expired => self.version = None,
            Kind::Unsupported if self.version.is_none() => self.initial = Initial::List,
            Kind::Unsupported | Kind::Other if self.version.is_some() => {
                self.resumes += 1;
                if self.resumes >= MOST_RESUMES {
                    self.version = None;
                }
            }
            _ => {}
        }
        self.retry.failed(failure)
    }

    /// One stream, from its request to its end.
    async fn once(&mut self, news: &mpsc::Sender<News<T>>) -> Result<(), Failure> {
        let lasting = self.lasting.mul_f64(1.0 + 0.25 * fastrand::f64());
        let mut lines = if self.version.is_some() {
            let lines = self.api.watch(&self.what, self.version.as_deref(), lasting).await?;
            self.well(news).await;
            lines
        } else if self.initial == Initial::List {
            self.list().await?;
            self.well(news).await;
            self.api.watch(&self.what, self.version.as_deref(), lasting).await?
        } else {
            match self.watch_list(lasting).await {
                // The next try is a list, at once.
                Err(failure) if failure.kind == Kind::Unsupported => {
                    self.initial = Initial::List;
                    tracing::debug!(?failure, "the server offers no watch of the whole state: listing");
                    return Box::pin(self.once(news)).await;
                }
                opened => {
                    let lines = opened?;
                    self.well(news).await;
                    lines
                }
            }
        };
        self.resumes = 0;
        self.follow(&mut lines, news).await
    }

    async fn well(&mut self, news: &mpsc::Sender<News<T>>) {
        self.retry.healthy();
        drop(news.send(News::Changed(std::mem::take(&mut self.changes))).await);
    }

    async fn follow(&mut self, lines: &mut Lines, news: &mpsc::Sender<News<T>>) -> Result<(), Failure> {
        loop {
            let batch = lines.next().await?;
            if batch.is_empty() {
                return Ok(());
            }
            let mut end = None;
            for line in batch {
                if let Err(failure) = parse(&line).and_then(|event| self.apply(event)) {
                    end = Some(failure);
                    break;
                }
            }
            if !self.changes.is_empty() {
                drop(news.send(News::Changed(std::mem::take(&mut self.changes))).await);
            }
            if let Some(failure) = end {
                return Err(failure);
            }
        }
    }

    /// Notes what `event` changes.
    fn apply(&mut self, event: Event<T>) -> Result<(), Failure> {
        match event {
            Event::Applied(object) => {
                self.reached(&object.metadata().resource_version);
                let (name, now) = (name(&object), Known::of(&object));
                if self.known.get(&name).is_none_or(|known| !known.newer(&now)) {
                    self.known.insert(name, now);
                    self.changes.push(Change::Now(object));
                }
            }
            Event::Deleted(object) => {
                self.reached(&object.metadata().resource_version);
                let (name, gone) = (name(&object), Known::of(&object));
                if self.known.get(&name).is_some_and(|known| gone.uid.is_empty() || known.uid == gone.uid) {
                    self.known.remove(&name);
                    self.changes.push(Change::Gone(name));
                }
            }
            Event::Bookmark(metadata, _) => self.reached(&metadata.resource_version),
            Event::Failed(status) => return Err(Failure::in_stream(&status)),
            Event::Unknown => {}
        }
        Ok(())
    }

    fn reached(&mut self, version: &str) {
        if version.is_empty() {
            return;
        }
        match version.parse::<u64>() {
            Ok(number) if number < self.newest => {}
            Ok(number) => {
                self.newest = number;
                self.version = Some(version.to_owned());
            }
            Err(_) => self.version = Some(version.to_owned()),
        }
    }
}

fn name<T: Object>(object: &T) -> String {
    object.metadata().name.clone()
}

/// A line that makes no sense leaves the state unknown: only a new list helps.
fn parse<T: Read>(line: &[u8]) -> Result<Event<T>, Failure> {
    Event::whole(line).map_err(|error| Failure::new(Kind::Expired, format!("an event: {error}")))
}
