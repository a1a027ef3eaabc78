//! A number of places at a time, of which each client may have a part.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use micro_tower::transport::network_of;

/// Places for so many at a time. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<Option<IpAddr>, usize>>>,
    most: usize,
    each: usize,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    client: Option<IpAddr>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The client has all that it may have.
    Own,
    /// All are taken.
    All,
}

impl Places {
    /// Room for `most`, of which `each` may be of one client: an IPv4 address, or the first 64 bits of one of IPv6.
    pub(super) fn new(most: usize, each: usize) -> Self {
        Self { taken: Arc::default(), most, each }
    }

    /// One for who asks from `address`. All those of whom none is known are one.
    pub(super) fn take(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        let client = address.map(network_of);
        let mut taken = self.taken();
        let own = taken.get(&client).copied().unwrap_or_default();
        if own >= self.each {
            return Err(Full::Own);
        }
        if taken.values().sum::<usize>() >= self.most {
            return Err(Full::All);
        }
        taken.insert(client, own + 1);
        Ok(Place { places: self.clone(), client })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.get_mut(&self.client) {
            *own -= 1;
        }
        taken.retain(|_, count| *count > 0);
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
        assert_eq!(places.taken().len(), 2, "who has none is forgotten");
    }
}
