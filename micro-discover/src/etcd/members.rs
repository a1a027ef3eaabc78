//! Asks one member of the cluster, and the next one when that fails, freezes or has no leader.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use tower::BoxError;

use super::BACKEND;
use super::rpc::{Client, Options};
use super::wire::{KeyValue, Page, RangeRequest};
use crate::registry::Error;

/// How long a member may take to answer. A third of the shortest TTL that is of any use: whoever has to renew a lease
/// must find out in time that a member hangs.
const ANSWER: Duration = Duration::from_millis(1_200);
/// How many keys the first answer may hold, and how many any may.
const PAGE: i64 = 1_000;
const LARGEST_PAGE: i64 = 16_000;
/// So many are put together by a member as fast as all at once, and read while it does the next.
const GOOD_PAGE: i64 = 2_500;
/// How many bytes an answer should have at most.
const PAGE_BYTES: usize = 4 << 20;
/// How often everything is read anew, when what was left of it has been compacted away meanwhile.
const MOST_SCANS: u32 = 4;
/// So few records are read faster than another thread wakes up.
const FEW: usize = 50;

pub(super) struct Members {
    endpoints: Vec<String>,
    options: Options,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    /// Counts the members tried so far; the next one is this modulo their number.
    turn: usize,
    client: Option<Client>,
}

/// Why a member did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it did not answer in time")]
    Late,
    #[error("{}", answer(.0))]
    Refused(Status),
    #[error("it ended the watch: {0}")]
    Ended(String),
    #[error("the lease is gone")]
    LostLease,
}

/// What a member said, or what is said for one that cannot be reached: the code only where it adds to that.
fn answer(status: &Status) -> String {
    match (status.code(), status.message()) {
        (code, "") => format!("it answered {code}"),
        (Code::Unavailable, message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

// Not the source: a status of tonic's tells itself, and all that is behind it, once more.
impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl Trouble {
    /// Whether another member may well do better. A refusal is the cluster's word.
    fn is_of_member(&self) -> bool {
        match self {
            Self::Refused(status) => !matches!(
                status.code(),
                Code::InvalidArgument
                    | Code::NotFound
                    | Code::PermissionDenied
                    | Code::FailedPrecondition
                    | Code::OutOfRange
            ),
            Self::LostLease => false,
            Self::Late | Self::Ended(_) => true,
        }
    }

    /// Whether this looks like a cluster that has no leader, so that leases could not be renewed.
    pub(super) fn is_leaderless(&self) -> bool {
        let text = self.to_string();
        matches!(self, Self::Late)
            || ["no leader", "leader changed", "timed out"].iter().any(|t| text.contains(t))
    }

    /// Whether the revision that was asked for is not kept any more.
    fn is_compacted(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::OutOfRange
            && status.message().contains("compacted"))
    }

    /// Whether the lease that was named does not exist any more.
    pub(super) fn is_lost_lease(&self) -> bool {
        match self {
            Self::LostLease => true,
            Self::Refused(status) => status.message().contains("requested lease not found"),
            Self::Late | Self::Ended(_) => false,
        }
    }

    pub(super) fn cannot(self, what: &str) -> Error {
        Error::Unavailable { backend: BACKEND, what: what.to_owned(), source: BoxError::from(self) }
    }
}

impl Members {
    pub(super) fn new(endpoints: Vec<String>, options: Options) -> Self {
        Self { endpoints, options, used: Mutex::default() }
    }

    pub(super) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// A client of the member in use, and its turn. Logs in where that is asked for.
    async fn client(&self) -> Result<(Client, usize), (Trouble, usize)> {
        let mut used = self.used.lock().await;
        let turn = used.turn;
        if let Some(client) = &used.client {
            return Ok((client.clone(), turn));
        }
        let endpoint = &self.endpoints[turn % self.endpoints.len()];
        let connecting = Client::connect(endpoint, &self.options);
        let connected = match timeout(ANSWER, connecting).await {
            Ok(connected) => connected.map_err(Trouble::from),
            Err(_) => Err(Trouble::Late),
        };
        match connected {
            Ok(client) => {
                used.client = Some(client.clone());
                Ok((client, turn))
            }
            Err(trouble) => Err((trouble, turn)),
        }
    }

    /// Lets the next member have a go, unless someone else already said so about this turn.
    pub(super) async fn give_up(&self, turn: usize) {
        let mut used = self.used.lock().await;
        if used.turn == turn {
            *used = Used { turn: turn.wrapping_add(1), client: None };
        }
    }

    /// Asks until a member answers, each member once, and the only member twice: its connection may be old, or
    /// its token.
    pub(super) async fn ask<T, F>(&self, request: impl Fn(Client) -> F) -> Result<(T, usize), Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut tries = self.endpoints.len().max(2);
        loop {
            tries -= 1;
            let (trouble, turn) = match self.client().await {
                Err(failed) => failed,
                Ok((client, turn)) => match timeout(ANSWER, request(client)).await {
                    Ok(Ok(answer)) => return Ok((answer, turn)),
                    Ok(Err(trouble)) => (trouble, turn),
                    Err(_) => (Trouble::Late, turn),
                },
            };
            if !trouble.is_of_member() {
                return Err(trouble);
            }
            self.give_up(turn).await;
            if tries == 0 {
                return Err(trouble);
            }
        }
    }

    /// One question to whoever answers it.
    pub(super) async fn say<Q, A>(&self, path: &'static str, question: &Q) -> Result<A, Trouble>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let request = |client: Client| async move { Ok(client.ask(path, question.clone()).await?) };
        self.ask(request).await.map(|(answer, _)| answer)
    }

    /// Hands everything under `prefixes` to `take`, page by page, all of one revision: a newer one, from the beginning, when
    /// that is compacted away before the last page. A page is read beside the runtime's own threads while the next one is on
    /// its way; the last one may still be when this returns.
    pub(super) async fn scan<T: Default + Send + 'static>(
        &self,
        prefixes: &[String],
        take: impl Fn(&mut T, Vec<KeyValue>) + Clone + Send + 'static,
    ) -> Result<Scanned<T>, Trouble> {
        let mut scans = 1;
        loop {
            match self.scan_once(prefixes, take.clone()).await {
                Err(trouble) if trouble.is_compacted() && scans < MOST_SCANS => scans += 1,
                scanned => return scanned,
            }
        }
    }

    async fn scan_once<T: Default + Send + 'static>(
        &self,
        prefixes: &[String],
        take: impl Fn(&mut T, Vec<KeyValue>) + Clone + Send + 'static,
    ) -> Result<Scanned<T>, Trouble> {
        let (mut whole, mut revision, mut limit) = (Reading::Done(T::default()), 0, PAGE);
        for prefix in prefixes {
            let (mut key, range_end) = (prefix.clone().into_bytes(), end_of(prefix));
            loop {
                let request = RangeRequest { key, range_end: range_end.clone(), limit, revision };
                let start = Instant::now();
                let asked = self.say::<_, Page>("/etcdserverpb.KV/Range", &request);
                let (page, known) = tokio::try_join!(asked, whole.done())?;
                if revision == 0 {
                    revision = page.header.map_or(0, |header| header.revision);
                }
                limit = next_limit(limit, &page, start.elapsed());
                let next = page.kvs.last().filter(|_| page.more).cloned();
                whole = Reading::start(known, page.kvs, take.clone())?;
                match next {
                    Some(last) => key = [&read(last)?.key[..], &[0]].concat(),
                    None => break,
                }
            }
        }
        Ok(Scanned { revision, whole })
    }
}

/// How many keys to ask for next: a member looks at all that is left for each answer, so there are to be few of those; and
/// nothing is on its way while the last one is read, so that is to be small.
fn next_limit(limit: i64, page: &Page, took: Duration) -> i64 {
    let (count, kvs) = (page.count, &page.kvs);
    if kvs.is_empty() {
        return limit;
    }
    let bytes = kvs.iter().map(Bytes::len).sum::<usize>().max(1);
    let fit = i64::try_from(kvs.len().saturating_mul(PAGE_BYTES) / bytes).unwrap_or(LARGEST_PAGE);
    // Four times as much may take four times as long.
    let most = if took < ANSWER / 16 { limit.saturating_mul(4) } else { limit };
    let left = count.saturating_sub(i64::try_from(kvs.len()).unwrap_or(count));
    most.min(fit).min(GOOD_PAGE.max(left / 4)).clamp(PAGE / 10, LARGEST_PAGE)
}

fn read(kv: Bytes) -> Result<KeyValue, Trouble> {
    KeyValue::decode(kv).map_err(|error| Status::internal(error.to_string()).into())
}

/// What a scan found, at which revision.
pub(super) struct Scanned<T> {
    pub(super) revision: i64,
    pub(super) whole: Reading<T>,
}

/// Everything read so far, or what reads more.
pub(super) enum Reading<T> {
    Done(T),
    Running(JoinHandle<Result<T, Trouble>>),
}

impl<T: Send + 'static> Reading<T> {
    fn start(
        mut known: T,
        page: Vec<Bytes>,
        take: impl Fn(&mut T, Vec<KeyValue>) + Send + 'static,
    ) -> Result<Self, Trouble> {
        let few = page.len() < FEW;
        let reading = move || {
            take(&mut known, page.into_iter().map(read).collect::<Result<_, _>>()?);
            Ok(known)
        };
        if few { reading().map(Self::Done) } else { Ok(Self::Running(spawn_blocking(reading))) }
    }

    pub(super) async fn done(self) -> Result<T, Trouble> {
        match self {
            Self::Done(known) => Ok(known),
            Self::Running(reading) => reading.await.map_err(|error| Trouble::Ended(error.to_string()))?,
        }
    }
}

/// The first key that does not start with `prefix`, which is of our making and ends in a slash.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_grow_while_they_come_soon_and_are_small() {
        let of = |count: i64, keys: usize, bytes: usize| Page {
            kvs: vec![vec![0; bytes].into(); keys],
            count,
            ..Page::default()
        };
        let page = |keys, bytes| of(1_000_000, keys, bytes);
        let soon = Duration::from_millis(10);
        assert_eq!(next_limit(1_000, &page(1_000, 250), soon), 4_000);
        assert_eq!(next_limit(4_000, &page(4_000, 250), soon), 16_000);
        assert_eq!(next_limit(16_000, &page(16_000, 100), soon), 16_000);
        assert_eq!(next_limit(1_000, &page(1_000, 250), Duration::from_millis(500)), 1_000, "a slow network");
        assert_eq!(next_limit(1_000, &page(1_000, 10 << 10), soon), 409, "large records");
        assert_eq!(next_limit(100, &page(100, 1 << 20), soon), 100);
        assert_eq!(next_limit(1_000, &page(0, 0), soon), 1_000, "nothing says how large they are");
        assert_eq!(
            next_limit(1_000, &of(10_000, 1_000, 250), soon),
            2_500,
            "a quarter of what is left is less"
        );
        assert_eq!(next_limit(4_000, &of(36_000, 4_000, 250), soon), 8_000, "a quarter of what is left");
    }
}
