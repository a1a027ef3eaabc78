//! Follows one service: the whole set at one revision, then every change after it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

use super::layout::end_of;
use super::members::{Members, Trouble};
use super::record::Record;
use super::rpc::{Client, Watching};
use super::table::{Seen, Table};
use super::wire::{Watch, WatchCreate, WatchProgress, WatchRequest, WatchResponse};
use crate::gomicro::Reader;
use crate::record::Service;
use crate::registry::Error;

/// After how much silence the member is asked whether it is still there, and how long that may take.
const SILENCE: Duration = Duration::from_secs(2);
const PUT: i32 = 0;
const ANSWER: Duration = Duration::from_millis(1_500);
/// So many messages that are there make one set: to put it together takes longer than to read them.
const AT_ONCE: usize = 1_000;

/// What comes next of a stream.
type Message = Result<Option<WatchResponse>, Status>;

pub(super) struct Watcher {
    members: Arc<Members>,
    seen: Arc<Seen>,
    name: String,
    live: Option<Live>,
    /// What was believed before events were compacted away.
    before: Option<Table>,
    failed: bool,
}

/// A watch that runs.
struct Live {
    stream: Watching,
    turn: usize,
    table: Table,
    /// The newest revision that was heard of.
    revision: i64,
    reader: Reader,
    /// Endpoints that are gone, but perhaps only because nobody could renew their lease; and until when they stay.
    kept: Option<(Table, Instant)>,
    /// What came behind a change, and is none.
    next: Option<Message>,
}

impl Live {
    async fn message(&mut self) -> Message {
        let message = match self.next.take() {
            Some(message) => message?,
            None => self.stream.answers.message().await?,
        };
        let told = message.as_ref().and_then(|message| message.header);
        self.revision = self.revision.max(told.unwrap_or_default().revision);
        Ok(message)
    }

    /// The next message, if it is there and a change. Whatever else it is waits for its turn.
    fn change(&mut self) -> Option<WatchResponse> {
        match self.message().now_or_never()? {
            Ok(Some(message)) if !message.canceled && !message.events.is_empty() => Some(message),
            other => {
                self.next = Some(other);
                None
            }
        }
    }

    fn services(&self) -> Vec<Service> {
        match &self.kept {
            None => self.table.services(),
            Some(_) => self.believed().services(),
        }
    }

    fn believed(&self) -> Table {
        let mut all = self.table.clone();
        for (key, record) in self.kept.iter().flat_map(|(kept, _)| &kept.0) {
            all.0.entry(key.clone()).or_insert_with(|| record.clone());
        }
        all
    }
}

/// What a watch has to say.
enum News {
    Changed,
    /// Something was said, and the set is what it was.
    Same,
    /// Events were compacted away: only a new list tells what is.
    Compacted,
}

impl Watcher {
    pub(super) fn new(members: Arc<Members>, seen: Arc<Seen>, name: String) -> Self {
        Self { members, seen, name, live: None, before: None, failed: false }
    }

    /// Waits for a set that differs from the last one. Ends after an error.
    pub(super) async fn next(mut self) -> Option<(Result<Vec<Service>, Error>, Self)> {
        if self.failed {
            return None;
        }
        loop {
            let news = match &mut self.live {
                None => self.start().await,
                Some(live) => follow(live, &self.seen, &self.name).await,
            };
            match news {
                Err(trouble) => return Some((Err(self.fail(trouble).await), self)),
                Ok(News::Compacted) => self.before = self.live.take().map(|live| live.believed()),
                Ok(News::Same) => {}
                Ok(News::Changed) => {
                    let set = self.live.as_ref().map(Live::services);
                    return set.map(|set| (Ok(set), self));
                }
            }
        }
    }

    async fn start(&mut self) -> Result<News, Trouble> {
        // Whatever changes while the rest is read waits in the stream.
        let watching = |revision: i64, prefixes: Vec<String>| {
            let create = |prefix: &String| {
                let (key, range_end) = (prefix.clone().into_bytes(), end_of(prefix));
                let create = WatchCreate { key, range_end, start_revision: revision + 1 };
                WatchRequest { watch: Some(Watch::Create(create)) }
            };
            let creates: Vec<_> = prefixes.iter().map(create).collect();
            self.members.ask(move |client: Client| {
                let creates = creates.clone();
                async move { Ok((client.watch(creates).await?, revision)) }
            })
        };
        let (found, ((stream, revision), turn)) =
            self.members.scan(&self.seen, Some(&self.name), watching).await?;
        let (table, reader, kept) =
            (found.into(), Reader::default(), self.seen.recover(&self.name, revision));
        let live = Live { stream, turn, table, revision, reader, kept, next: None };
        let same = self.before.take().is_some_and(|before| before == live.believed());
        self.live = Some(live);
        Ok(if same { News::Same } else { News::Changed })
    }

    /// Remembers what is known, for whoever starts again, and lets another member have a go.
    async fn fail(&mut self, trouble: Trouble) -> Error {
        self.failed = true;
        let live = self.live.take();
        if let Some(live) = &live {
            self.members.give_up(live.turn).await;
        }
        let known = live.map(|live| (live.believed(), live.revision));
        self.seen.lose(&self.name, known, trouble.is_leaderless());
        trouble.cannot("watch", &self.members)
    }
}

/// Waits until the set may have changed.
async fn follow(live: &mut Live, seen: &Seen, name: &str) -> Result<News, Trouble> {
    let mut asked = false;
    loop {
        let wait = if asked { ANSWER } else { SILENCE };
        let end = live.kept.as_ref().map(|(_, end)| *end);
        let message = tokio::select! {
            message = timeout(wait, live.message()) => message,
            () = async { sleep_until(end.expect("only asked when there is one")).await }, if end.is_some() => {
                let over = live.kept.take();
                let mut kept = over.iter().flat_map(|(kept, _)| kept.0.keys());
                let missing = kept.any(|key| !live.table.0.contains_key(key));
                return Ok(if missing { News::Changed } else { News::Same });
            }
        };
        let message = match message {
            Err(_) if asked => return Err(Trouble::Late(wait)),
            Err(_) => {
                let progress = WatchRequest { watch: Some(Watch::Progress(WatchProgress {})) };
                live.stream.requests.try_send(progress).map_err(|error| Trouble::Ended(error.to_string()))?;
                asked = true;
                continue;
            }
            Ok(message) => message?.ok_or_else(|| Trouble::Ended("without a reason".to_owned()))?,
        };
        asked = false;
        if message.canceled {
            if message.compact_revision > 0 {
                return Ok(News::Compacted);
            }
            return Err(Trouble::Ended(message.cancel_reason));
        }
        if !message.events.is_empty() {
            let mut changed = apply(live, message, seen, name);
            for _ in 1..AT_ONCE {
                let Some(message) = live.change() else { break };
                changed |= apply(live, message, seen, name);
            }
            return Ok(if changed { News::Changed } else { News::Same });
        }
    }
}

/// Whether the set is another one now. One message is one revision or several: its events count together.
fn apply(live: &mut Live, message: WatchResponse, seen: &Seen, name: &str) -> bool {
    let mut changed = false;
    for event in message.events {
        let Some(kv) = event.kv else { continue };
        let after = match event.kind {
            PUT => seen.record(&kv.key, &kv.value, Some(name), &mut live.reader),
            _ => None,
        };
        changed |= replace(live, &kv.key, after, event.kind == PUT);
    }
    changed
}

/// Puts `after` where `key` was, or nothing; whether anybody can tell.
fn replace(live: &mut Live, key: &[u8], after: Option<Record>, put: bool) -> bool {
    let before = live.table.0.remove(key);
    if let (false, Some((kept, _)), Some(gone)) = (put, &mut live.kept, &before) {
        kept.0.insert(key.into(), gone.clone());
    }
    let kept = live.kept.as_ref().and_then(|(kept, _)| kept.0.get(key));
    let changed = before.as_ref().or(kept) != after.as_ref().or(kept);
    live.table.0.extend(after.map(|after| (key.into(), after)));
    changed
}
