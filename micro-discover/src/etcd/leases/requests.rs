//! What etcd is asked for: a lease, its renewal, and transactions over keys.

use futures_util::stream;

use crate::etcd::members::{Members, Trouble};
use crate::etcd::rpc::Client;
use crate::etcd::wire::{
    Compare, DeleteRequest, Equal, GrantRequest, GrantResponse, KeepAliveResponse, KeyValue, LeaseRequest,
    Op, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};
use crate::gomicro;
use crate::record::Service;

/// etcd takes 128 operations in a transaction; each key needs two comparisons.
pub(super) const KEYS_AT_ONCE: usize = 60;
/// It takes 1.5 MB in a request.
const BYTES_AT_ONCE: usize = 1 << 20;
pub(super) const TXN: &str = "/etcdserverpb.KV/Txn";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lease {
    /// 0 is none: the key stays.
    pub(super) id: i64,
    pub(super) seconds: i64,
}

/// A key and what is to be there.
pub(super) type Wanted = (String, Vec<u8>);

pub(super) async fn grant(members: &Members, seconds: i64) -> Result<Lease, Trouble> {
    if seconds == 0 {
        return Ok(Lease { id: 0, seconds });
    }
    let request = GrantRequest { ttl: seconds };
    let granted: GrantResponse = members.say("/etcdserverpb.Lease/LeaseGrant", &request).await?;
    Ok(Lease { id: granted.id, seconds })
}

pub(super) async fn renew(members: &Members, lease: Lease) -> Result<(), Trouble> {
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
pub(super) async fn put(members: &Members, wanted: &[Wanted], lease: Lease) -> Result<i64, Trouble> {
    let put = |(key, value): &Wanted| {
        let (key, value) = (key.clone().into_bytes(), value.clone());
        RequestOp::from(Op::Put(PutRequest { key, value, lease: lease.id }))
    };
    let txn = TxnRequest { success: wanted.iter().map(put).collect(), ..TxnRequest::default() };
    let answer: TxnResponse = members.say(TXN, &txn).await?;
    Ok(answer.header.unwrap_or_default().revision)
}

/// How many of these go into one transaction, at least one.
pub(super) fn at_once(wanted: &[Wanted]) -> usize {
    let mut bytes = 0;
    let fits = |(key, value): &&Wanted| {
        bytes += key.len() + value.len();
        bytes <= BYTES_AT_ONCE
    };
    wanted.iter().take(KEYS_AT_ONCE).take_while(fits).count().max(1)
}

/// What stands under these keys.
pub(super) async fn read(
    members: &Members,
    keys: impl Iterator<Item = &String>,
) -> Result<Vec<KeyValue>, Trouble> {
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
pub(super) async fn delete(members: &Members, keys: &[String], service: &Service) -> Result<(), Trouble> {
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
