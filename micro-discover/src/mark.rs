//! One number for all that is said of an endpoint, or of a set of them, instead of a copy.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::RandomState;

use crate::labels::Labels;
use crate::record::{Endpoint, Service};

/// Marks what is seen: two that differ have the same mark once in 2^64 times. Marks of two of these cannot be compared.
#[derive(Default)]
pub(crate) struct Marks {
    state: RandomState,
    /// The labels that were marked last: most endpoints share them with the one before.
    labels: Option<(Labels, u64)>,
}

impl Marks {
    pub(crate) fn endpoint(&mut self, endpoint: &Endpoint) -> u64 {
        let Endpoint { id, address, weight, zone, priority, metadata } = endpoint;
        let labels = self.labels(metadata);
        self.state.hash_one((id, address, weight, zone, priority, labels))
    }

    pub(crate) fn set(&mut self, set: &[Service]) -> u64 {
        let mut hasher = self.state.build_hasher();
        for Service { name, version, metadata, methods, endpoints } in set {
            (name, version, metadata, methods, endpoints.len()).hash(&mut hasher);
            for endpoint in endpoints {
                hasher.write_u64(self.endpoint(endpoint));
            }
        }
        hasher.finish()
    }

    fn labels(&mut self, labels: &Labels) -> u64 {
        match &self.labels {
            Some((known, mark)) if known.shares(labels) => *mark,
            _ => {
                let mark = self.state.hash_one(labels);
                self.labels = Some((labels.clone(), mark));
                mark
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_anything_has_another_mark_and_what_is_equal_has_the_same() {
        let endpoint = || Endpoint::new("a", "h:1".parse().unwrap()).metadata("tier", "gold");
        let others = [
            Endpoint::new("b", "h:1".parse().unwrap()).metadata("tier", "gold"),
            Endpoint::new("a", "h:2".parse().unwrap()).metadata("tier", "gold"),
            endpoint().weight(2),
            endpoint().zone("eu"),
            endpoint().priority(1),
            endpoint().metadata("tier", "tin"),
            endpoint().metadata("more", ""),
        ];
        let mut marks = Marks::default();
        let first = marks.endpoint(&endpoint());
        let set = |endpoint| [Service::new("greeter").endpoint(endpoint)];
        let whole = marks.set(&set(endpoint()));
        for other in others {
            assert_ne!(marks.endpoint(&other), first, "{other:?}");
            assert_ne!(marks.set(&set(other)), whole);
            assert_eq!(marks.endpoint(&endpoint()), first);
        }
        assert_eq!(marks.set(&set(endpoint())), whole);
        assert_ne!(marks.set(&set(endpoint()).map(|service| service.version("2"))), whole);
        assert_ne!(marks.set(&[]), whole);
    }
}
