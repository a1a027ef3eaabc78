//! What is made of slices, for tests to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::time::Instant;

use crate::kubernetes::hold::Hold;
use crate::kubernetes::pool::Pool;
use crate::kubernetes::said::said;
use crate::kubernetes::select::{Port, Wanted};
use crate::kubernetes::slice::Slice;
use crate::record::Endpoint;

pub(super) type Slices = BTreeMap<String, Slice>;

/// What is used of `slices`, and what is there beside it.
#[derive(Debug, PartialEq)]
pub(super) struct Selection {
    pub(super) chosen: BTreeMap<SocketAddr, Endpoint>,
    pub(super) refused: BTreeSet<SocketAddr>,
    pub(super) degraded: bool,
}

/// What `pool` has settled on.
pub(super) fn settled(pool: &Pool, slices: &Slices) -> Selection {
    let chosen: BTreeMap<_, _> = pool.used().1.map(|(at, member)| (at.into(), member.endpoint(at))).collect();
    assert_eq!(chosen.len(), pool.used().0);
    let addresses =
        slices.values().flat_map(|slice| said(slice.clone(), pool.wanted()).map(|(at, _)| at.into()));
    let refused = addresses.filter(|at| !chosen.contains_key(at)).collect();
    Selection { degraded: pool.degraded(), chosen, refused }
}

/// What a client that knows nothing yet makes of `slices`, in this order.
pub(super) fn select<'a>(slices: impl Iterator<Item = &'a Slice>, wanted: &Wanted) -> Selection {
    let mut pool = Pool::new(wanted.clone());
    let mut all = Slices::new();
    for slice in slices {
        pool.put(slice.clone());
        all.insert(slice.metadata.name.clone(), slice.clone());
    }
    pool.settle();
    settled(&pool, &all)
}

pub(super) fn ids(selection: &Selection) -> BTreeSet<String> {
    selection.chosen.values().map(|endpoint| endpoint.id.clone()).collect()
}

pub(super) fn chosen(slices: &Slices, wanted: &Wanted) -> BTreeSet<String> {
    ids(&select(slices.values(), wanted))
}

pub(super) fn named(port: &str) -> Wanted {
    Wanted { port: Port::Name(port.to_owned()), ..Wanted::default() }
}

pub(super) fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// All `slices` there are from `now` on.
pub(super) fn apply<'a>(
    hold: &mut Hold,
    pool: &mut Pool,
    slices: impl Iterator<Item = &'a Slice>,
    now: Instant,
) -> (Vec<Endpoint>, Option<Instant>) {
    pool.replace(slices.cloned());
    hold.settle(pool, now);
    let (set, again) = hold.set(pool, now);
    (set.into_iter().map(|(at, member)| member.endpoint(at)).collect(), again)
}
