//! Puts endpoints on a lease, keeps that lease, and gives it back.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::stream;

use super::BACKEND;
use super::layout::Layout;
use super::members::{Members, Trouble};
use super::rpc::Client;

use super::wire::{
    Compare, DeleteRequest, Equal, GrantRequest, GrantResponse, KeepAliveResponse, KeyValue, LeaseRequest,
    Op, PutRequest, RangeRequest, RequestOp, RevokeResponse, TxnRequest, TxnResponse,
};
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

#[derive(Clone, Copy, Debug, PartialEq)]
struct Lease {
    /// 0 is none: the key stays.
    id: i64,
    seconds: i64,
}

/// etcd takes 128 operations in a transaction; each key needs two comparisons.
const KEYS_AT_ONCE: usize = 60;
/// It takes 1.5 MB in a request.
const BYTES_AT_ONCE: usize = 1 << 20;
const TXN: &str = "/etcdserverpb.KV/Txn";
const NO_PANIC: &str = "nothing under this lock can panic";

/// A key and what is to be there.
type Wanted = (String, Vec<u8>);

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

async fn grant(members: &Members, seconds: i64) -> Result<Lease, Trouble> {
    if seconds == 0 {
        return Ok(Lease { id: 0, seconds });
    }
    let request = GrantRequest { ttl: seconds };
    let granted: GrantResponse = members.say("/etcdserverpb.Lease/LeaseGrant", &request).await?;
    Ok(Lease { id: granted.id, seconds })
}

async fn renew(members: &Members, lease: Lease) -> Result<(), Trouble> {
    if lease.id == 0 {
        return Ok(());
    }
    let request = |client: Client| async move {
        let once = stream::iter([LeaseRequest { id: lease.id }]);
        let mut answers = client.talk("/etcdserverpb.Lease/LeaseKeepAlive", once).await?;
        match answers.message().await? {
            Some(KeepAliveResponse { ttl: 1.. }) => Ok(()),
            Some(_) => Err(Trouble::LostLease),
            None => Err(Trouble::Ended("without a word about the lease".to_owned())),
        }
    };
    members.ask(request).await.map(drop)
}

/// Puts these on the lease, and gives the revision they are of then.
async fn put(members: &Members, wanted: &[Wanted], lease: Lease) -> Result<i64, Trouble> {
    let put = |(key, value): &Wanted| {
        let (key, value) = (key.clone().into_bytes(), value.clone());
        RequestOp::from(Op::Put(PutRequest { key, value, lease: lease.id }))
    };
    let txn = TxnRequest { success: wanted.iter().map(put).collect(), ..TxnRequest::default() };
    let answer: TxnResponse = members.say(TXN, &txn).await?;
    Ok(answer.header.unwrap_or_default().revision)
}

/// How many of these go into one transaction, at least one.
fn at_once(wanted: &[Wanted]) -> usize {
    let mut bytes = 0;
    let fits = |(key, value): &&Wanted| {
        bytes += key.len() + value.len();
        bytes <= BYTES_AT_ONCE
    };
    wanted.iter().take(KEYS_AT_ONCE).take_while(fits).count().max(1)
}

/// What stands under these keys.
async fn read(members: &Members, keys: impl Iterator<Item = &String>) -> Result<Vec<KeyValue>, Trouble> {
    let read = |key: &String| {
        let key = key.clone().into_bytes();
        RequestOp::from(Op::Range(RangeRequest { key, ..RangeRequest::default() }))
    };
    let read = TxnRequest { success: keys.map(read).collect(), ..TxnRequest::default() };
    let answer: TxnResponse = members.say(TXN, &read).await?;
    let ranges = answer.responses.into_iter().filter_map(|response| response.range);
    Ok(ranges.flat_map(|range| range.kvs).collect())
}

/// Deletes those of `keys` that hold an endpoint of `service` unchanged, even while others write.
async fn delete(members: &Members, keys: &[String], service: &Service) -> Result<(), Trouble> {
    loop {
        let found = read(members, keys.iter()).await?.into_iter();
        let delete_unchanged = found.filter(|kv| is_of(&kv.value, service)).map(|kv| {
            let unchanged = Compare::new(kv.key.clone(), Equal::ModRevision(kv.mod_revision));
            let delete = Op::Delete(DeleteRequest { key: kv.key.into() }).into();
            let txn = TxnRequest { compare: vec![unchanged], success: vec![delete], failure: Vec::new() };
            RequestOp::from(Op::Txn(txn))
        });
        let txn = TxnRequest { success: delete_unchanged.collect(), ..TxnRequest::default() };
        if txn.success.is_empty() {
            return Ok(());
        }
        // Then read once more: what was written in between is another announcement's, or still ours to delete.
        members.say::<_, TxnResponse>(TXN, &txn).await?;
    }
}

fn is_of(value: &[u8], service: &Service) -> bool {
    let Ok(found) = gomicro::decode(value) else { return false };
    found.version == service.version
        && found.endpoints.iter().all(|found| {
            service.endpoints.iter().any(|ours| ours.id == found.id && ours.address == found.address)
        })
}
