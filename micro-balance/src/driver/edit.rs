//! A step from one list of members to the next.

use crate::{endpoint::Endpoint, snapshot::Members};

/// One step from the members of one snapshot to those of the next.
#[derive(Clone)]
pub(super) enum Edit<S> {
    Insert(usize, Endpoint, S),
    Replace(usize, Endpoint, S),
    Remove(usize),
}

impl<S> Edit<S> {
    pub(super) fn apply(self, members: &mut Members<S>) {
        let Members { endpoints, services } = members;
        match self {
            Self::Insert(at, endpoint, service) if at <= endpoints.len() => {
                insert(endpoints, at, endpoint);
                insert(services, at, service);
            }
            Self::Replace(at, endpoint, service) if at < endpoints.len() => {
                endpoints[at] = endpoint;
                services[at] = service;
            }
            Self::Remove(at) if at < endpoints.len() => {
                endpoints.remove(at);
                services.remove(at);
            }
            // No edit is made for a place that is not there.
            _ => {}
        }
    }
}

/// Takes one more into a list that has little room to spare, as it may be long.
fn insert<T>(list: &mut Vec<T>, at: usize, one: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 16 + 4);
    }
    list.insert(at, one);
}
