//! The directory and what is known of it, for everyone in this process who uses it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::disk::{self, Print};
use super::lease::{Lease, Stamp, boot};
use super::place::Place;
use crate::merge::{merge, split};
use crate::record::Service;
use crate::registry::Error;
use crate::rival::Rivals;

/// All of these calls block.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) place: Place,
    boot: String,
    known: Mutex<Known>,
    /// How the files that this process has put looked then, by name.
    put: Mutex<HashMap<String, Print>>,
    rivals: Rivals,
}

#[derive(Debug, Default)]
struct Known {
    cache: Cache,
    table: Table,
    /// When the last look that was good began.
    looked: Option<Instant>,
}

/// What is live.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    /// Grows with each look that shows something new, whoever looked.
    pub(super) revision: u64,
    /// By name, one record per version.
    pub(super) services: Arc<BTreeMap<String, Vec<Service>>>,
    /// Until when this can stand without another look.
    pub(super) next_end: Option<Instant>,
}

/// How often one who only announces looks for what others left behind.
const SWEEP: Duration = Duration::from_secs(30);

pub(super) const BACKEND: &str = "file";

impl Store {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            boot: boot(),
            known: Mutex::default(),
            put: Mutex::default(),
            rivals: Rivals::default(),
        }
    }

    /// Writes one file per endpoint.
    pub(super) fn put(&self, service: &Service, ttl: Duration) -> Result<(), Error> {
        for record in split(service) {
            let lease = Lease::live(record, ttl, Stamp::now(&self.boot));
            self.meet(&lease);
            let print = self.write(&lease, ttl.is_zero())?;
            self.prints().insert(lease.file_name(), print);
        }
        let due = self.with(|known| known.cache.updated().is_none_or(|updated| updated.elapsed() > SWEEP));
        if due {
            self.look()?;
        }
        Ok(())
    }

    /// Looks whether somebody else has replaced what this process had put for an endpoint.
    fn meet(&self, ours: &Lease) {
        let (dir, name) = (&self.place.dir, ours.file_name());
        let before = self.prints().get(&name).copied();
        if before.is_some()
            && disk::print(dir, &name).is_some_and(|now| Some(now) != before)
            && let Ok(theirs) = disk::read(dir, &name)
            && !theirs.withdrawn
        {
            self.rivals.meet(BACKEND, &ours.service, &theirs.service);
        }
    }

    /// Replaces the files that are still as announced by a farewell, which whoever looks removes later.
    pub(super) fn remove(&self, service: &Service) -> Result<(), Error> {
        self.rivals.part(service);
        for record in split(service) {
            let (version, address) = (record.version.clone(), record.endpoints[0].address.clone());
            let farewell = Lease::withdrawn(record, Stamp::now(&self.boot));
            let name = farewell.file_name();
            let dir = &self.place.dir;
            self.prints().remove(&name);
            if disk::print(dir, &name).is_none() {
                continue;
            }
            let theirs = |lease: Lease| {
                lease.withdrawn
                    || lease.service.version != version
                    || lease.service.endpoints[0].address != address
            };
            if disk::read(dir, &name).is_ok_and(theirs) {
                continue;
            }
            self.write(&farewell, false)?;
        }
        Ok(())
    }

    fn write(&self, lease: &Lease, durable: bool) -> Result<Print, Error> {
        let json = lease.encode().map_err(|what| Error::Invalid { backend: BACKEND, what })?;
        let replace = || {
            self.place.ensure()?;
            disk::replace(&self.place.dir, &lease.file_name(), &json, durable)
        };
        let written = match replace() {
            // The directory went between the two steps.
            Err(error) if error.kind() == io::ErrorKind::NotFound => replace(),
            written => written,
        };
        written.map_err(|error| self.failed("write to", error))
    }

    /// Reads what changed in the directory, and removes what is spent.
    pub(super) fn look(&self) -> Result<Table, Error> {
        self.look_since(Instant::now())
    }

    /// The same, unless somebody else has begun to after `asked`: a thousand who begin to watch are not a thousand looks.
    pub(super) fn look_since(&self, asked: Instant) -> Result<Table, Error> {
        let dir = &self.place.dir;
        self.with(|Known { cache, table, looked }| {
            if looked.is_some_and(|looked| looked > asked) {
                return Ok(table.clone());
            }
            let begun = Instant::now();
            let listing = disk::list(dir).map_err(|error| self.failed("read", error))?;
            let (now, stamp) = (Instant::now(), Stamp::now(&self.boot));
            let prints = listing.clone();
            for name in cache.update(now, &stamp, listing, |name| disk::read(dir, name)) {
                disk::remove(dir, &name, prints.get(&name).copied());
            }
            let mut services = BTreeMap::<_, Vec<_>>::new();
            for service in merge(cache.live()) {
                services.entry(service.name.clone()).or_default().push(service);
            }
            if *table.services != services {
                table.services = Arc::new(services);
                table.revision += 1;
            }
            table.next_end = cache.next_end();
            *looked = Some(begun);
            Ok(table.clone())
        })
    }

    pub(super) fn failed(&self, verb: &str, error: io::Error) -> Error {
        let what = format!("{verb} {}", self.place.dir.display());
        Error::Unavailable { backend: BACKEND, what, source: error.into() }
    }

    fn prints(&self) -> MutexGuard<'_, HashMap<String, Print>> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Known) -> R) -> R {
        // A reader that panicked left at worst an old cache behind.
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Endpoint;

    #[test]
    fn who_asked_before_another_began_to_look_need_not_look() {
        let temp = tempfile::tempdir().unwrap();
        let (store, other) = [(); 2].map(|()| Store::new(Place::explicit(temp.path().into()))).into();
        let put = |id: &str| {
            let record = Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()));
            other.put(&record, Duration::from_secs(60)).unwrap();
        };
        let count = |table: Table| table.services.values().flatten().flat_map(|s| &s.endpoints).count();
        put("a");
        let asked = Instant::now();
        assert_eq!(count(store.look().unwrap()), 1);
        put("b");
        assert_eq!(count(store.look_since(asked).unwrap()), 1);
        assert_eq!(count(store.look_since(Instant::now()).unwrap()), 2);
    }
}
