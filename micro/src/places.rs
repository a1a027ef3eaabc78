//! A number of places at a time, of which each client may have a part.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use micro_tower::transport::network_of;

/// Places for so many at a time. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    each: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<Option<IpAddr>, usize>,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    client: Option<IpAddr>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The client has all that it may have.
    Own,
    /// All are taken.
    All,
}

impl Places {
    /// As many as anybody wants, of which `each` may be of one client.
    pub(crate) fn of_each(each: usize) -> Self {
        Self::new(usize::MAX, each)
    }

    /// Room for `most`, of which `each` may be of one client: an IPv4 address, or the first 64 bits of one of IPv6.
    pub(crate) fn new(most: usize, each: usize) -> Self {
        Self { taken: Arc::default(), most, each }
    }

    /// One for who asks from `address`. All those of whom none is known are one.
    pub(crate) fn take(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        let client = address.map(network_of);
        let mut taken = self.taken();
        let own = taken.by.get(&client).copied().unwrap_or_default();
        if own >= self.each {
            return Err(Full::Own);
        }
        if taken.all >= self.most {
            return Err(Full::All);
        }
        taken.by.insert(client, own + 1);
        taken.all += 1;
        Ok(Place { places: self.clone(), client })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        match taken.by.get_mut(&self.client) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.by.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_part_and_others_what_is_left_until_places_come_free() {
        let places = Places::new(3, 2);
        let from = |address: &str| places.take(Some(address.parse().unwrap()));
        let (first, _second) = (from("2001:db8::1").unwrap(), from("2001:db8::2").unwrap());
        assert_eq!(from("2001:db8::3").unwrap_err(), Full::Own);
        let third = from("192.0.2.1").unwrap();
        assert_eq!(from("192.0.2.1").unwrap_err(), Full::All);
        assert_eq!(places.take(None).unwrap_err(), Full::All);
        drop(first);
        drop(third);
        let _again = (from("2001:db8::3").unwrap(), places.take(None).unwrap());
        let taken = places.taken();
        assert_eq!((taken.by.len(), taken.all), (2, 3), "who has none is forgotten");
        drop(taken);
    }
}
