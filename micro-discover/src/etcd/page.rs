//! One answer of many keys, and the records among them.

use tonic::Status;

use super::fields::Field;
use super::members::Trouble;
use super::record::Found;
use super::rpc::Client;
use super::table::Seen;
use super::wire::RangeRequest;
use crate::gomicro::Reader;

/// Which records are looked for.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) seen: &'a Seen,
    pub(super) name: Option<&'a str>,
}

/// What one answer says.
#[derive(Default)]
pub(super) struct Page {
    pub(super) revision: i64,
    pub(super) found: Found,
    /// The last key, be it a record's or not.
    pub(super) last: Vec<u8>,
    pub(super) keys: usize,
    pub(super) bytes: usize,
    pub(super) more: bool,
}

impl Page {
    /// Asks for one.
    pub(super) async fn read(
        client: Client,
        request: &RangeRequest,
        records: Records<'_>,
    ) -> Result<Self, Trouble> {
        let (mut page, mut reader) = (Self::default(), Reader::default());
        let take = |field: Field<'_>| page.take(field, records, &mut reader);
        client.read("/etcdserverpb.KV/Range", request, take).await?;
        Ok(page)
    }

    /// Takes a field of a `RangeResponse`.
    fn take(&mut self, field: Field<'_>, records: Records<'_>, reader: &mut Reader) -> Result<(), Status> {
        match field.tag {
            1 => field.each(|field| {
                if field.tag == 3 {
                    self.revision = field.number.cast_signed();
                }
            }),
            2 => {
                let (mut key, mut value) = (&[][..], &[][..]);
                field.each(|field| match field.tag {
                    1 => key = field.bytes,
                    5 => value = field.bytes,
                    _ => {}
                })?;
                self.keys += 1;
                self.bytes += field.bytes.len();
                self.last.clear();
                self.last.extend_from_slice(key);
                let record = records.seen.record(key, value, records.name, reader);
                self.found.extend(record.map(|record| (key.into(), record)));
                Ok(())
            }
            3 => {
                self.more = field.number != 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Reads what is said of keys in pieces of `size` bytes: the same as whole, and each record the same as alone.
#[cfg(any(test, fuzzing))]
pub(super) fn probe(size: usize, message: &[u8]) {
    let seen = Seen::new(std::time::Duration::ZERO);
    let records = Records { seen: &seen, name: None };
    let read = |size| {
        let (mut page, mut reader) = (Page::default(), Reader::default());
        let take = |field: Field<'_>| page.take(field, records, &mut reader);
        super::answer::in_pieces(message, size, take).ok()?;
        Some(page)
    };
    let (whole, pieces) = (read(message.len().max(1)), read(size));
    let said = |page: &Page| (page.revision, page.found.clone(), page.last.clone(), page.keys, page.more);
    assert_eq!(pieces.as_ref().map(said), whole.as_ref().map(said));
    let Some(page) = whole else { return };
    if let Ok(range) = <super::wire::RangeResponse as prost::Message>::decode(message) {
        let alone = |kv: super::wire::KeyValue| {
            let record = seen.record(&kv.key, &kv.value, None, &mut Reader::default());
            record.map(|record| (Box::from(&kv.key[..]), record))
        };
        assert_eq!(page.found, Vec::from_iter(range.kvs.into_iter().filter_map(alone)));
    }
    for service in super::table::Table::from(page.found).services() {
        assert_eq!(service.validate(), Ok(()));
    }
}
