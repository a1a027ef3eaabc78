//! What is kept of a record that was found under a key.

use std::sync::Arc;

use super::layout::ROOTS;
use crate::address::Address;
use crate::gomicro::Heard;
use crate::merge::{Replica, again};
use crate::record::{Endpoint, Service};

/// Records as they are found, each with its key.
pub(super) type Found = Vec<(Box<[u8]>, Record)>;

/// The record of a key. There may be many, so it keeps what it does not share, and that once.
#[derive(Clone, Debug)]
pub(super) enum Record {
    /// Of the endpoint whose id ends the key, which no other key of today's layout has: like another's but for its address.
    Own(Arc<Replica>, Address),
    Other(Replica),
}

impl Record {
    pub(super) fn new(key: &[u8], heard: Heard<'_>) -> Self {
        match heard {
            Heard::Like { like, id, address } if is_own(key, &like.head, id) => Self::Own(like, address),
            heard => {
                let replica = Replica::from(heard);
                match &*replica.endpoints {
                    [endpoint] if is_own(key, &replica.head, &endpoint.id) => {
                        let address = endpoint.address.clone();
                        Self::Own(Arc::new(replica), address)
                    }
                    _ => Self::Other(replica),
                }
            }
        }
    }

    pub(super) fn head(&self) -> &Service {
        match self {
            Self::Own(like, _) => &like.head,
            Self::Other(replica) => &replica.head,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Other(replica) if replica.endpoints.is_empty())
    }

    /// Adds the endpoints that stand under `key`.
    pub(super) fn add(&self, key: &[u8], endpoints: &mut Vec<Endpoint>) {
        match self {
            Self::Own(like, address) => {
                let id = String::from_utf8_lossy(&key[ROOTS[0].len() + like.head.name.len() + 1..]);
                endpoints.extend(like.endpoints.first().map(|like| again(like, &id, address.clone())));
            }
            Self::Other(replica) => endpoints.extend_from_slice(&replica.endpoints),
        }
    }
}

/// Whether they say the same, under the same key.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(like, address), Self::Own(others, other)) => {
                let said = |like: &Replica| like.with("", address.clone());
                address == other && (Arc::ptr_eq(like, others) || said(like) == said(others))
            }
            (Self::Other(replica), Self::Other(other)) => replica == other,
            _ => false,
        }
    }
}

/// Whether this key of today's layout is for the endpoint `id`: then no other key's has that.
fn is_own(key: &[u8], head: &Service, id: &str) -> bool {
    let rest = key.strip_prefix(ROOTS[0].as_bytes()).and_then(|rest| rest.strip_prefix(head.name.as_bytes()));
    rest.and_then(|rest| rest.strip_prefix(b"/")) == Some(id.as_bytes())
}
