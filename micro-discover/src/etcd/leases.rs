//! Puts endpoints on a lease, keeps that lease, and gives it back.

mod requests;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use self::requests::{KEYS_AT_ONCE, Lease, TXN, Wanted, at_once, delete, grant, put, read, renew};
use super::BACKEND;
use super::layout::Layout;
use super::members::{Members, Trouble};
use super::wire::{Compare, Equal, LeaseRequest, RevokeResponse, TxnRequest, TxnResponse};
use crate::gomicro;
use crate::invalid::Invalid;
use crate::merge::split;
use crate::record::Service;
use crate::registry::Error;
use crate::rival::Rivals;

/// What this process has put, by its key.
#[derive(Debug)]
pub(super) struct Leases {
    held: Mutex<BTreeMap<String, Held>>,
    layout: Layout,
    rivals: Rivals,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    value: Vec<u8>,
    /// What it was put with: while the key is of this one, it is as it was put.
    revision: i64,
}

const NO_PANIC: &str = "nothing under this lock can panic";

impl Leases {
    pub(super) fn new(layout: Layout) -> Self {
        Self { held: Mutex::default(), layout, rivals: Rivals::default() }
    }

    /// Puts the endpoints of `service`, or renews the lease they are on.
    pub(super) async fn put(&self, members: &Members, service: &Service, ttl: Duration) -> Result<(), Error> {
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).min(365 * 24 * 3600);
        let layout = self.layout;
        let wanted: Vec<Wanted> = split(service)
            .map(|record| (layout.key(&record.name, &record.endpoints[0].id), layout.value(&record)))
            .collect();
        let put = async {
            if let Some(lease) = self.shared(&wanted, seconds) {
                match renew(members, lease).await {
                    Err(trouble) if trouble.is_lost_lease() => {}
                    Err(trouble) => return Err(trouble),
                    // Somebody may have removed or replaced a key since; what is as it should be is not touched.
                    Ok(()) => match self.ensure(members, &wanted, lease).await {
                        Err(trouble) if trouble.is_lost_lease() => {}
                        done => return done,
                    },
                }
            }
            let lease = grant(members, seconds).await?;
            self.place(members, &wanted, lease).await
        };
        put.await.map_err(|trouble: Trouble| match wanted.iter().map(|(_, value)| value.len()).max() {
            // It takes no more the next time.
            Some(most) if trouble.is_too_much() => {
                let what =
                    format!("{most} bytes that an endpoint says of itself: more than it takes ({trouble})");
                Error::Invalid { backend: BACKEND, what: Invalid::new(what) }
            }
            _ => trouble.cannot("announce", members),
        })
    }

    /// The lease that all of these are on, if it is one.
    fn shared(&self, wanted: &[Wanted], seconds: i64) -> Option<Lease> {
        let held = self.held.lock().expect(NO_PANIC);
        let first = held.get(&wanted.first()?.0)?.lease;
        let same = wanted.iter().all(|(key, _)| held.get(key).is_some_and(|held| held.lease == first));
        (same && first.seconds == seconds).then_some(first)
    }

    /// Puts what is not as wanted, and those that are asked after with it. Where all is, it writes nothing and sends no values.
    async fn ensure(&self, members: &Members, wanted: &[Wanted], lease: Lease) -> Result<(), Trouble> {
        for wanted in wanted.chunks(KEYS_AT_ONCE) {
            if let Some(compare) = self.as_put(wanted) {
                let txn = TxnRequest { compare, ..TxnRequest::default() };
                if members.say::<_, TxnResponse>(TXN, &txn).await?.succeeded {
                    continue;
                }
                self.meet(members, wanted).await;
            }
            self.place(members, wanted, lease).await?;
        }
        Ok(())
    }

    /// Asks whether these are as they were put. None when that is not what is wanted now.
    fn as_put(&self, wanted: &[Wanted]) -> Option<Vec<Compare>> {
        let held = self.held.lock().expect(NO_PANIC);
        let mut compare = Vec::with_capacity(2 * wanted.len());
        for (key, value) in wanted {
            let put = held.get(key).filter(|put| put.value == *value)?;
            let equal = [Equal::ModRevision(put.revision), Equal::Lease(put.lease.id)];
            compare.extend(equal.map(|equal| Compare::new(key.as_str(), equal)));
        }
        Some(compare)
    }

    /// Looks who has put what is not as we have put it. Where that cannot be read it is not said, and put all the same.
    async fn meet(&self, members: &Members, wanted: &[Wanted]) {
        let Ok(found) = read(members, wanted.iter().map(|(key, _)| key)).await else { return };
        let values: BTreeMap<&[u8], &Wanted> = wanted.iter().map(|it| (it.0.as_bytes(), it)).collect();
        for kv in found.into_iter().filter(|kv| values.get(&*kv.key).is_some_and(|it| it.1 != *kv.value)) {
            if let (Ok(ours), Ok(theirs)) = (gomicro::decode(&values[&*kv.key].1), gomicro::decode(&kv.value))
            {
                self.rivals.meet(BACKEND, &ours, &theirs);
            }
        }
    }

    /// Puts these on the lease, and gives back those that nothing hangs on any more.
    async fn place(&self, members: &Members, wanted: &[Wanted], lease: Lease) -> Result<(), Trouble> {
        let (mut rest, mut before) = (wanted, Vec::new());
        while !rest.is_empty() {
            let (wanted, later) = rest.split_at(at_once(rest));
            rest = later;
            let revision = put(members, wanted, lease).await?;
            let mut held = self.held.lock().expect(NO_PANIC);
            before.extend(wanted.iter().filter_map(|(key, value)| {
                held.insert(key.clone(), Held { lease, value: value.clone(), revision })
            }));
        }
        self.give_back(members, before).await;
        Ok(())
    }

    async fn give_back(&self, members: &Members, held: Vec<Held>) {
        let mut ids: Vec<_> = held.into_iter().map(|held| held.lease.id).filter(|id| *id != 0).collect();
        ids.sort_unstable();
        ids.dedup();
        {
            let held = self.held.lock().expect(NO_PANIC);
            ids.retain(|id| held.values().all(|held| held.lease.id != *id));
        }
        for id in ids {
            // It ends by itself anyway.
            let request = LeaseRequest { id };
            let revoked = members.say("/etcdserverpb.Lease/LeaseRevoke", &request);
            if let Err::<RevokeResponse, _>(error) = revoked.await {
                tracing::debug!(%error, "a lease is left to expire");
            }
        }
    }

    /// Deletes the endpoints that are still as `service` says.
    pub(super) async fn remove(&self, members: &Members, service: &Service) -> Result<(), Error> {
        self.rivals.part(service);
        let keys: Vec<_> = service.endpoints.iter().map(|e| self.layout.key(&service.name, &e.id)).collect();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            delete(members, keys, service).await.map_err(|trouble| trouble.cannot("withdraw", members))?;
        }
        let before: Vec<_> = {
            let mut held = self.held.lock().expect(NO_PANIC);
            keys.iter().filter_map(|key| held.remove(key)).collect()
        };
        self.give_back(members, before).await;
        Ok(())
    }
}
