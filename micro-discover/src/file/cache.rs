//! What a reader knows about the directory: which endpoints are live, and for how long.
//!
//! A lease ends by the reader's own clock, counted from when its file was last seen to change. So a file that is
//! missing, half-written or replaced by something foreign is no news: what it said stands until it would have
//! expired anyway, and an `rm -r` of the whole directory is invisible as long as the announcers keep renewing. Only a
//! record that says "withdrawn", or time, removes an endpoint.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::disk::Print;
use super::lease::{Lease, Stamp};
use crate::invalid::Invalid;
use crate::record::Service;

/// Every file that was seen, by name.
#[derive(Debug, Default)]
pub(super) struct Cache {
    seen: BTreeMap<String, Seen>,
    updated: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    /// The file's look; none when it is gone.
    print: Option<Print>,
    content: Content,
    /// When a live endpoint expires, and when a spent file is to be removed.
    end: Option<Instant>,
    /// How long a lease lasts; the same again passes before its file is removed.
    ttl: Option<Duration>,
}

#[derive(Debug, PartialEq)]
enum Content {
    /// An endpoint.
    Live(Service),
    /// Withdrawn, expired, or left behind by a writer that died: to be removed.
    Spent,
    /// Not ours, or not readable: left alone, and mentioned once.
    Foreign,
}

/// How long an endpoint that never expires outlives its file.
const LOST: Duration = Duration::from_secs(30);
/// How long a temporary file may be worked on.
const WRITING: Duration = Duration::from_secs(60);

impl Cache {
    /// Brings the cache up to date with a `listing` of the directory, reading only files that changed. Returns
    /// the names of files to remove.
    pub(super) fn update(
        &mut self,
        now: Instant,
        stamp: &Stamp,
        listing: BTreeMap<String, Print>,
        mut read: impl FnMut(&str) -> Result<Lease, Invalid>,
    ) -> Vec<String> {
        let unwatched = self.updated.map_or(Duration::MAX, |updated| now - updated);
        self.updated = Some(now);
        for (name, seen) in &mut self.seen {
            if seen.print.is_some() && !listing.contains_key(name) {
                seen.lose(now);
            }
        }
        for (name, print) in listing {
            if self.seen.get(&name).is_some_and(|seen| seen.print == Some(print)) {
                continue;
            }
            if name.ends_with(".tmp") {
                let seen =
                    Seen { print: Some(print), content: Content::Spent, end: Some(now + WRITING), ttl: None };
                self.seen.insert(name, seen);
                continue;
            }
            match read(&name) {
                Ok(lease) => {
                    // It was written after the last look, whatever its stamp says.
                    let age = lease.stamp.age(stamp).min(unwatched);
                    self.seen.insert(name, Seen::of(lease, print, now, age));
                }
                Err(error) => self.misread(name, print, now, &error),
            }
        }
        self.expire(now)
    }

    /// Keeps what the file said before, if anything.
    fn misread(&mut self, name: String, print: Print, now: Instant, error: &Invalid) {
        tracing::warn!(file = name, %error, "ignoring a file in the registry's directory");
        let unknown = Seen { print: None, content: Content::Foreign, end: None, ttl: None };
        let seen = self.seen.entry(name).or_insert(unknown);
        match seen.content {
            Content::Live(_) => seen.lose(now),
            Content::Spent | Content::Foreign => (seen.content, seen.end) = (Content::Foreign, None),
        }
        seen.print = Some(print);
    }

    fn expire(&mut self, now: Instant) -> Vec<String> {
        let mut spent = Vec::new();
        self.seen.retain(|name, seen| {
            let due = seen.end.is_some_and(|end| end <= now);
            if due && let Content::Live(service) = &seen.content {
                tracing::info!(service = service.name, endpoint = service.endpoints[0].id, "expired");
                (seen.content, seen.end) = (Content::Spent, seen.ttl.and_then(|ttl| now.checked_add(ttl)));
            } else if due && seen.content == Content::Spent && seen.print.is_some() {
                spent.push(name.clone());
                seen.end = now.checked_add(WRITING);
            }
            seen.print.is_some() || matches!(seen.content, Content::Live(_))
        });
        spent
    }

    /// The live endpoints, ordered by service and id.
    pub(super) fn live(&self) -> Vec<&Service> {
        let services = self.seen.values().filter_map(|seen| match &seen.content {
            Content::Live(service) => Some(service),
            Content::Spent | Content::Foreign => None,
        });
        let mut live: Vec<_> = services.collect();
        live.sort_by_key(|service| (&service.name, &service.endpoints[0].id));
        live
    }

    /// When the next lease ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let live = self.seen.values().filter(|seen| matches!(seen.content, Content::Live(_)));
        live.filter_map(|seen| seen.end).min()
    }

    /// When the directory was last looked at.
    pub(super) fn updated(&self) -> Option<Instant> {
        self.updated
    }
}

impl Seen {
    fn of(lease: Lease, print: Print, now: Instant, age: Duration) -> Self {
        let ttl = lease.ttl();
        let end = ttl.and_then(|ttl| now.checked_add(ttl.saturating_sub(age)));
        let content = if lease.withdrawn { Content::Spent } else { Content::Live(lease.service) };
        Self { print: Some(print), content, end, ttl }
    }

    fn lose(&mut self, now: Instant) {
        self.print = None;
        self.end = self.end.or(Some(now + LOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Endpoint;

    const TTL: Duration = Duration::from_secs(15);

    /// A directory in memory, and a reader of it.
    struct Rig {
        cache: Cache,
        files: BTreeMap<String, (Print, Option<Lease>)>,
        start: Instant,
        passed: Duration,
        wall_ms: u64,
        writes: u64,
    }

    impl Rig {
        fn new() -> Self {
            let (cache, files) = (Cache::default(), BTreeMap::new());
            Self { cache, files, start: Instant::now(), passed: TTL * 100, wall_ms: 1 << 40, writes: 0 }
        }

        fn stamp(&self, boot: &str) -> Stamp {
            let monotonic_ms = self.passed.as_millis() as u64;
            Stamp { boot: boot.into(), monotonic_ms, wall_ms: self.wall_ms }
        }

        fn pass(&mut self, time: Duration) {
            self.passed += time;
            self.wall_ms += time.as_millis() as u64;
        }

        fn put(&mut self, name: &str, content: Option<Lease>) {
            self.writes += 1;
            self.files.insert(name.to_owned(), (Print::fake(self.writes), content));
        }

        fn renew(&mut self, id: &str) -> String {
            self.renew_from("here", id, TTL)
        }

        fn renew_from(&mut self, boot: &str, id: &str, ttl: Duration) -> String {
            let lease = Lease::live(record(id), ttl, self.stamp(boot));
            let name = lease.file_name();
            self.put(&name, Some(lease));
            name
        }

        /// The ids that are live after a look, and how many files were removed.
        fn look(&mut self) -> (String, usize) {
            let listing = self.files.iter().map(|(name, (print, _))| (name.clone(), *print)).collect();
            let files = &self.files;
            let read = |name: &str| files[name].1.clone().ok_or_else(|| Invalid::new("garbage"));
            let spent = self.cache.update(self.start + self.passed, &self.stamp("here"), listing, read);
            for name in &spent {
                self.files.remove(name);
            }
            (self.cache.live().iter().map(|s| s.endpoints[0].id.as_str()).collect(), spent.len())
        }
    }

    fn record(id: &str) -> Service {
        Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()))
    }

    #[test]
    fn a_writer_that_crashed_expires_after_its_ttl_and_its_file_is_removed_later() {
        let mut rig = Rig::new();
        rig.renew("a");
        rig.renew("b");
        assert_eq!(rig.look(), ("ab".into(), 0));
        for _ in 0..3 {
            rig.pass(TTL / 3);
            rig.renew("b");
            rig.look();
        }
        assert_eq!(rig.look(), ("b".into(), 0));
        rig.pass(TTL / 2);
        rig.renew("b");
        assert_eq!(rig.look(), ("b".into(), 0));
        rig.pass(TTL / 2);
        assert_eq!(rig.look(), ("b".into(), 1));
        assert_eq!(rig.files.len(), 1);
    }

    #[test]
    fn a_reader_who_comes_late_sees_no_more_than_the_rest_of_a_lease() {
        let mut rig = Rig::new();
        rig.renew("a");
        rig.pass(TTL - Duration::from_secs(1));
        assert_eq!(rig.look().0, "a");
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.look().0, "");

        // Not even one who looked before, when the writer renewed and died meanwhile.
        let mut rig = Rig::new();
        rig.renew("a");
        rig.look();
        rig.pass(TTL);
        rig.renew("a");
        rig.pass(TTL * 2);
        assert_eq!(rig.look().0, "");
    }

    #[test]
    fn a_wall_clock_that_jumps_drops_nobody() {
        for jump in [i64::from(i32::MAX), -i64::from(i32::MAX)] {
            let mut rig = Rig::new();
            rig.renew("a");
            rig.look();
            rig.wall_ms = rig.wall_ms.saturating_add_signed(jump);
            assert_eq!(rig.look().0, "a", "to one who knows it");
            rig.cache = Cache::default();
            assert_eq!(rig.look().0, "a", "to one who does not");
        }
    }

    #[test]
    fn another_machine_whose_clock_is_wrong_is_live_once_it_is_seen_to_renew() {
        let mut rig = Rig::new();
        rig.look();
        rig.wall_ms -= 3_600_000;
        rig.renew_from("there", "a", TTL);
        rig.wall_ms += 3_600_000;
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.look().0, "a");
    }

    #[test]
    fn a_removed_directory_removes_nobody_who_keeps_renewing() {
        let mut rig = Rig::new();
        rig.renew("a");
        rig.renew("b");
        rig.look();
        rig.files.clear();
        assert_eq!(rig.look().0, "ab");
        rig.pass(TTL / 3);
        rig.renew("b");
        assert_eq!(rig.look().0, "ab", "a was only late");
        rig.pass(TTL);
        rig.renew("b");
        assert_eq!(rig.look().0, "b", "a was gone");
    }

    #[test]
    fn an_endpoint_for_ever_outlives_its_file_by_a_grace() {
        let mut rig = Rig::new();
        rig.renew_from("here", "a", Duration::ZERO);
        rig.pass(TTL * 1000);
        assert_eq!(rig.look().0, "a");
        rig.files.clear();
        assert_eq!(rig.look().0, "a");
        rig.pass(LOST);
        assert_eq!(rig.look().0, "");
    }

    #[test]
    fn a_withdrawn_endpoint_is_gone_at_once_and_may_come_back() {
        let mut rig = Rig::new();
        let name = rig.renew("a");
        rig.look();
        rig.put(&name, Some(Lease::withdrawn(record("a"), rig.stamp("here"))));
        assert_eq!(rig.look().0, "");
        rig.renew("a");
        assert_eq!(rig.look().0, "a");
        rig.put(&name, Some(Lease::withdrawn(record("a"), rig.stamp("here"))));
        rig.look();
        rig.pass(super::super::lease::FAREWELL);
        assert_eq!(rig.look(), (String::new(), 1));
    }

    #[test]
    fn garbage_in_place_of_a_record_is_ignored_until_the_lease_ends() {
        let mut rig = Rig::new();
        let name = rig.renew("a");
        rig.renew("b");
        rig.look();
        rig.put(&name, None);
        rig.put("foreign.json", None);
        assert_eq!(rig.look(), ("ab".into(), 0));
        rig.pass(TTL);
        rig.renew("b");
        assert_eq!(rig.look().0, "b");
        rig.renew("a");
        assert_eq!(rig.look().0, "ab");
        rig.pass(TTL * 100);
        rig.look();
        rig.pass(TTL * 100);
        rig.look();
        assert_eq!(rig.files.keys().collect::<Vec<_>>(), ["foreign.json"], "what is not ours stays");
    }

    #[test]
    fn what_a_dead_writer_left_half_done_is_removed() {
        let mut rig = Rig::new();
        rig.put(".a.tmp", None);
        assert_eq!(rig.look(), (String::new(), 0));
        rig.pass(WRITING);
        assert_eq!(rig.look(), (String::new(), 1));
    }
}
