//! Reads everything under some keys, page by page, while a member puts the next page together.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tonic::Status;

use super::members::{ANSWER, Members, Trouble};
use super::wire::{KeyValue, Page, RangeRequest};

/// How many keys the first answer may hold, and how many any may.
const PAGE: i64 = 1_000;
const LARGEST_PAGE: i64 = 16_000;
/// How many bytes an answer should have at most.
const PAGE_BYTES: usize = 4 << 20;
/// How many answers may wait to be read.
const MOST_UNREAD: usize = 2;
/// How often everything is read anew, when what was left of it has been compacted away meanwhile.
const MOST_SCANS: u32 = 4;
/// So few records are read faster than another thread wakes up.
const FEW: usize = 50;

impl Members {
    /// Hands everything under `prefixes` to `take`, page by page, all of one revision: a newer one, from the beginning, when
    /// that is compacted away before the last page. Pages are read beside the runtime's own threads; meanwhile `beside` is
    /// told the revision and the prefixes that may be read, and done.
    pub(super) async fn scan<T, A, F>(
        &self,
        prefixes: &[String],
        take: impl Fn(&mut T, Vec<KeyValue>) + Clone + Send + 'static,
        beside: impl Fn(i64, Vec<String>) -> F,
    ) -> Result<(T, A), Trouble>
    where
        T: Default + Send + 'static,
        F: Future<Output = Result<A, Trouble>>,
    {
        let mut scans = 1;
        loop {
            match self.scan_once(prefixes, take.clone(), &beside).await {
                Err(trouble) if trouble.is_compacted() && scans < MOST_SCANS => scans += 1,
                scanned => return scanned,
            }
        }
    }

    async fn scan_once<T, A, F>(
        &self,
        prefixes: &[String],
        take: impl Fn(&mut T, Vec<KeyValue>) + Clone + Send + 'static,
        beside: impl Fn(i64, Vec<String>) -> F,
    ) -> Result<(T, A), Trouble>
    where
        T: Default + Send + 'static,
        F: Future<Output = Result<A, Trouble>>,
    {
        let start = Instant::now();
        let (revision, firsts) = self.first_pages(prefixes).await?;
        let took = start.elapsed();
        let readable = firsts.iter().map(|(prefix, _)| (*prefix).to_owned()).collect();
        let rest = async {
            let mut whole = Reading::Done(T::default());
            for (prefix, first) in firsts {
                whole = self.read_on(prefix, revision, first, took, whole, take.clone()).await?;
            }
            whole.done().await
        };
        tokio::try_join!(rest, beside(revision, readable))
    }

    /// The first page under the first prefix, and those under others that may be read; and the revision that all are of.
    async fn first_pages<'a>(&self, prefixes: &'a [String]) -> Result<(i64, Vec<(&'a str, Page)>), Trouble> {
        let answers = join_all(prefixes.iter().map(|prefix| self.first_page(prefix, 0))).await;
        let of = |page: &Page| page.header.map_or(0, |header| header.revision);
        let mut revision = None;
        let mut pages = Vec::with_capacity(prefixes.len());
        for (prefix, answer) in prefixes.iter().zip(answers) {
            let mut page = match answer {
                // Who was given the rights for one layout is not to fail for want of those for the other.
                Err(trouble) if trouble.is_forbidden() && revision.is_some() => {
                    tracing::debug!(prefix, %trouble, "not read");
                    continue;
                }
                answered => answered?,
            };
            let revision = *revision.get_or_insert(of(&page));
            // Something was put between the answers.
            if of(&page) != revision {
                page = self.first_page(prefix, revision).await?;
            }
            pages.push((prefix.as_str(), page));
        }
        Ok((revision.unwrap_or(0), pages))
    }

    /// What comes first under `prefix`, at this revision, or at the newest where that is 0.
    async fn first_page(&self, prefix: &str, revision: i64) -> Result<Page, Trouble> {
        self.page(prefix.to_owned().into_bytes(), prefix, PAGE, revision).await
    }

    /// At most `limit` keys from `key` on; fewer, where they are more than a message may hold.
    async fn page(&self, key: Vec<u8>, prefix: &str, limit: i64, revision: i64) -> Result<Page, Trouble> {
        let mut request = RangeRequest { key, range_end: end_of(prefix), limit, revision };
        loop {
            match self.say("/etcdserverpb.KV/Range", &request).await {
                Err(trouble) if trouble.is_too_large() && request.limit > 1 => {
                    request.limit = (request.limit / 8).max(1);
                }
                answered => return answered,
            }
        }
    }

    /// Hands over `page`, which `took` so long, and what comes after it.
    async fn read_on<T: Send + 'static>(
        &self,
        prefix: &str,
        revision: i64,
        mut page: Page,
        mut took: Duration,
        mut whole: Reading<T>,
        take: impl Fn(&mut T, Vec<KeyValue>) + Clone + Send + 'static,
    ) -> Result<Reading<T>, Trouble> {
        let mut limit = PAGE;
        loop {
            limit = next_limit(limit, &page.kvs, took);
            let last = page.kvs.last().filter(|_| page.more).cloned();
            whole = whole.add(page.kvs, take.clone()).await?;
            let Some(last) = last else { return Ok(whole) };
            let key = [&read(last)?.key[..], &[0]].concat();
            let start = Instant::now();
            page = self.page(key, prefix, limit, revision).await?;
            took = start.elapsed();
        }
    }
}

/// How many keys to ask for next: a member looks at all that is left for each answer, so there are to be few of those.
fn next_limit(limit: i64, kvs: &[Bytes], took: Duration) -> i64 {
    if kvs.is_empty() {
        return limit;
    }
    let bytes = kvs.iter().map(Bytes::len).sum::<usize>().max(1);
    let fit = i64::try_from(kvs.len().saturating_mul(PAGE_BYTES) / bytes).unwrap_or(LARGEST_PAGE);
    // Ten times as much may take ten times as long.
    let most = if took < ANSWER / 16 { limit.saturating_mul(10) } else { limit };
    most.min(fit).clamp(1, LARGEST_PAGE)
}

fn read(kv: Bytes) -> Result<KeyValue, Trouble> {
    KeyValue::decode(kv).map_err(|error| Status::internal(error.to_string()).into())
}

/// Everything read so far, or what reads more.
enum Reading<T> {
    Done(T),
    Running(mpsc::Sender<Vec<Bytes>>, JoinHandle<Result<T, Trouble>>),
}

impl<T: Send + 'static> Reading<T> {
    /// Reads a page more, in a while.
    async fn add(
        self,
        page: Vec<Bytes>,
        take: impl Fn(&mut T, Vec<KeyValue>) + Send + 'static,
    ) -> Result<Self, Trouble> {
        let take = move |known: &mut T, page: Vec<Bytes>| {
            take(known, page.into_iter().map(read).collect::<Result<_, _>>()?);
            Ok::<_, Trouble>(())
        };
        let (pages, reading) = match self {
            Self::Running(pages, reading) => (pages, reading),
            Self::Done(mut known) if page.len() < FEW => {
                take(&mut known, page)?;
                return Ok(Self::Done(known));
            }
            Self::Done(mut known) => {
                let (pages, mut more) = mpsc::channel::<Vec<Bytes>>(MOST_UNREAD);
                let reading = spawn_blocking(move || {
                    while let Some(page) = more.blocking_recv() {
                        take(&mut known, page)?;
                    }
                    Ok(known)
                });
                (pages, reading)
            }
        };
        let is_read = pages.send(page).await.is_ok();
        let running = Self::Running(pages, reading);
        if is_read { Ok(running) } else { running.done().await.map(Self::Done) }
    }

    async fn done(self) -> Result<T, Trouble> {
        match self {
            Self::Done(known) => Ok(known),
            Self::Running(pages, reading) => {
                drop(pages);
                reading.await.map_err(|error| Trouble::Ended(error.to_string()))?
            }
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
        let page = |keys: usize, bytes: usize| vec![Bytes::from(vec![0; bytes]); keys];
        let soon = Duration::from_millis(10);
        assert_eq!(next_limit(1_000, &page(1_000, 250), soon), 10_000);
        assert_eq!(next_limit(10_000, &page(10_000, 250), soon), 16_000);
        assert_eq!(next_limit(1_000, &page(1_000, 250), Duration::from_millis(500)), 1_000, "a slow network");
        assert_eq!(next_limit(1_000, &page(1_000, 10 << 10), soon), 409, "large records");
        assert_eq!(next_limit(100, &page(100, 1 << 20), soon), 4);
        assert_eq!(next_limit(1_000, &page(0, 0), soon), 1_000, "nothing says how large they are");
    }
}
