//! Remembers which endpoints a request has been to, so that its next attempt goes elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How many endpoints are remembered; later ones are forgotten, and may be tried twice.
const SLOTS: usize = 6;

/// The endpoints one request has been to, shared between its attempts.
///
/// A layer above the balancer puts it into the extensions of an [`http::Request`] and keeps a clone. The
/// balancer adds each endpoint it sends the request to, and avoids those already there while another can
/// take it.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    slots: Arc<[AtomicU64; SLOTS]>,
}

impl Tried {
    /// How many endpoints the request has been sent to, up to six.
    pub fn len(&self) -> usize {
        self.slots.iter().take_while(|slot| slot.load(Relaxed) != 0).count()
    }

    /// Whether the request has been sent nowhere yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the endpoint with this serial number, which is never 0; false where it is there already.
    pub(crate) fn add(&self, serial: u64) -> bool {
        for slot in self.slots.iter() {
            match slot.compare_exchange(0, serial, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) if other == serial => return false,
                Err(_) => {}
            }
        }
        true
    }

    pub(crate) fn contains(&self, serial: u64) -> bool {
        self.slots.iter().any(|slot| slot.load(Relaxed) == serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_what_either_has_tried() {
        let tried = Tried::default();
        let clone = tried.clone();
        assert!(clone.add(7) && !tried.add(7));
        assert!(tried.contains(7) && !tried.contains(8));
        assert_eq!(tried.len(), 1);
    }

    #[test]
    fn a_full_memory_forgets_the_latest_and_keeps_the_rest() {
        let tried = Tried::default();
        assert!((1..=9).all(|serial| tried.add(serial)));
        assert_eq!(tried.len(), 6);
        assert!(tried.contains(6) && !tried.contains(9));
    }
}
