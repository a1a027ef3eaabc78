//! Reads all records of a service, or of all, page by page, each while it comes.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tonic::Status;

use super::layout::{end_of, prefixes};
use super::members::{ANSWER, Members, Trouble};
use super::page::{Page, Records};
use super::record::Found;
use super::table::Seen;
use super::wire::RangeRequest;

/// How many keys the first answer may hold, and how many any may.
const PAGE: i64 = 1_000;
const LARGEST_PAGE: i64 = 16_000;
/// How many bytes an answer should have at most.
const PAGE_BYTES: usize = 4 << 20;
/// How often everything is read anew, when what was left of it has been compacted away meanwhile.
const MOST_SCANS: u32 = 4;

impl Members {
    /// All records of `name`, or of all services, of one revision: a newer one, from the beginning, when that is compacted
    /// away before the last page. Pages are read while they come; meanwhile `beside` is told the revision and the prefixes
    /// that may be read, and done.
    pub(super) async fn scan<A, F>(
        &self,
        seen: &Seen,
        name: Option<&str>,
        beside: impl Fn(i64, Vec<String>) -> F,
    ) -> Result<(Found, A), Trouble>
    where
        F: Future<Output = Result<A, Trouble>>,
    {
        let mut scans = 1;
        loop {
            match self.scan_once(Records { seen, name }, &beside).await {
                Err(trouble) if trouble.is_compacted() && scans < MOST_SCANS => scans += 1,
                scanned => return scanned,
            }
        }
    }

    async fn scan_once<A, F>(
        &self,
        records: Records<'_>,
        beside: impl Fn(i64, Vec<String>) -> F,
    ) -> Result<(Found, A), Trouble>
    where
        F: Future<Output = Result<A, Trouble>>,
    {
        let (prefixes, start) = (prefixes(records.name), Instant::now());
        let (revision, firsts) = self.first_pages(&prefixes, records).await?;
        let took = start.elapsed();
        let readable = firsts.iter().map(|(prefix, _)| (*prefix).to_owned()).collect();
        let rest = async {
            let mut found = Found::new();
            for (prefix, first) in firsts {
                self.read_on(prefix, records, revision, first, took, &mut found).await?;
            }
            Ok(found)
        };
        tokio::try_join!(rest, beside(revision, readable))
    }

    /// The first page under the first prefix, and those under others that may be read; and the revision that all are of.
    async fn first_pages<'a>(
        &self,
        prefixes: &'a [String],
        records: Records<'_>,
    ) -> Result<(i64, Vec<(&'a str, Page)>), Trouble> {
        let answers = join_all(prefixes.iter().map(|prefix| self.first_page(prefix, records, 0))).await;
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
            let revision = *revision.get_or_insert(page.revision);
            // Something was put between the answers.
            if page.revision != revision {
                page = self.first_page(prefix, records, revision).await?;
            }
            pages.push((prefix.as_str(), page));
        }
        Ok((revision.unwrap_or(0), pages))
    }

    /// What comes first under `prefix`, at this revision, or at the newest where that is 0.
    async fn first_page(&self, prefix: &str, records: Records<'_>, revision: i64) -> Result<Page, Trouble> {
        let (key, range_end) = (prefix.to_owned().into_bytes(), end_of(prefix));
        self.page(RangeRequest { key, range_end, limit: PAGE, revision }, records).await
    }

    /// What is asked for; fewer keys, where they are more than a message may hold.
    async fn page(&self, mut request: RangeRequest, records: Records<'_>) -> Result<Page, Trouble> {
        loop {
            match self.ask(|client| Page::read(client, &request, records)).await {
                Err(trouble) if trouble.is_too_large() && request.limit > 1 => {
                    request.limit = (request.limit / 8).max(1);
                }
                answered => return answered.map(|(page, _)| page),
            }
        }
    }

    /// Adds `page`, which `took` so long, and what comes after it.
    async fn read_on(
        &self,
        prefix: &str,
        records: Records<'_>,
        revision: i64,
        mut page: Page,
        mut took: Duration,
        found: &mut Found,
    ) -> Result<(), Trouble> {
        let mut limit = PAGE;
        loop {
            limit = next_limit(limit, page.keys, page.bytes, took);
            found.append(&mut page.found);
            if !page.more || page.keys == 0 {
                return Ok(());
            }
            let last = page.last;
            let (key, range_end) = ([&last[..], &[0]].concat(), end_of(prefix));
            let start = Instant::now();
            page = self.page(RangeRequest { key, range_end, limit, revision }, records).await?;
            took = start.elapsed();
            goes_on(&page, &last)?;
        }
    }
}

/// Refuses what does not go on after the key `last`: a member that says the same again would be asked for ever.
fn goes_on(page: &Page, last: &[u8]) -> Result<(), Status> {
    if page.keys > 0 && *page.last <= *last {
        return Err(Status::internal("it answered with keys that it had been asked to go on after"));
    }
    Ok(())
}

/// How many keys to ask for next: a member looks at all that is left for each answer, so there are to be few of those.
fn next_limit(limit: i64, keys: usize, bytes: usize, took: Duration) -> i64 {
    if keys == 0 {
        return limit;
    }
    let fit = i64::try_from(keys.saturating_mul(PAGE_BYTES) / bytes.max(1)).unwrap_or(LARGEST_PAGE);
    // Ten times as much may take ten times as long.
    let most = if took < ANSWER / 16 { limit.saturating_mul(10) } else { limit };
    most.min(fit).clamp(1, LARGEST_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_after_the_one_before_or_is_refused() {
        let page = |keys, last: &str| Page { keys, last: last.into(), more: true, ..Page::default() };
        assert!(goes_on(&page(1, "b"), b"a").is_ok());
        assert!(goes_on(&page(0, ""), b"a").is_ok(), "nothing is left");
        for again in ["a", "A"] {
            assert!(goes_on(&page(1, again), b"a").is_err(), "{again}");
        }
    }

    #[test]
    fn answers_grow_while_they_come_soon_and_are_small() {
        let soon = Duration::from_millis(10);
        assert_eq!(next_limit(1_000, 1_000, 250_000, soon), 10_000);
        assert_eq!(next_limit(10_000, 10_000, 2_500_000, soon), 16_000);
        assert_eq!(next_limit(1_000, 1_000, 250_000, Duration::from_millis(500)), 1_000, "a slow network");
        assert_eq!(next_limit(1_000, 1_000, 1_000 * (10 << 10), soon), 409, "large records");
        assert_eq!(next_limit(100, 100, 100 * (1 << 20), soon), 4);
        assert_eq!(next_limit(1_000, 0, 0, soon), 1_000, "nothing says how large they are");
    }
}
