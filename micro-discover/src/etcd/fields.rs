//! Fields of a message as they are on the wire, <https://protobuf.dev/programming-guides/encoding/>: read in place, and as
//! soon as they are there.

use tonic::Status;

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) tag: u64,
    /// What it says, unless that is of `bytes`.
    pub(super) number: u64,
    pub(super) bytes: &'a [u8],
}

/// The most bytes that a number takes.
const LONGEST: usize = 10;

impl<'a> Field<'a> {
    /// Takes the first one off `bytes`. None where it is not all there.
    pub(super) fn first(bytes: &mut &'a [u8]) -> Result<Option<Self>, Status> {
        let mut rest = *bytes;
        let Some(key) = number(&mut rest)? else { return Ok(None) };
        let (tag, kind) = (key >> 3, key & 7);
        let (number, length) = match kind {
            0 => (number(&mut rest)?, Some(0)),
            1 => (Some(0), Some(8)),
            2 => (Some(0), number(&mut rest)?),
            5 => (Some(0), Some(4)),
            _ => return Err(Status::internal(format!("a field of kind {kind}, which there is not"))),
        };
        let (Some(number), Some(length)) = (number, length) else { return Ok(None) };
        let whole = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
        Ok(whole.map(|(field, after)| {
            *bytes = after;
            Self { tag, number, bytes: field }
        }))
    }

    /// Hands each field of a message, which is this one, to `take`.
    pub(super) fn each(self, mut take: impl FnMut(Self)) -> Result<(), Status> {
        let mut rest = self.bytes;
        while let Some(field) = Self::first(&mut rest)? {
            take(field);
        }
        if rest.is_empty() { Ok(()) } else { Err(Status::internal("a field is cut off")) }
    }
}

/// Takes a number off `bytes`. None where it is not all there.
fn number(bytes: &mut &[u8]) -> Result<Option<u64>, Status> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(LONGEST).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(Some(value));
        }
    }
    if bytes.len() < LONGEST { Ok(None) } else { Err(Status::internal("a number that does not end")) }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::wire::{KeyValue, RangeResponse};
    use super::*;

    fn all(mut bytes: &[u8]) -> Vec<Field<'_>> {
        std::iter::from_fn(|| Field::first(&mut bytes).unwrap()).collect()
    }

    #[test]
    fn a_field_is_what_prost_writes() {
        let kv = KeyValue { key: "k".into(), mod_revision: i64::MAX, value: vec![7; 300].into() };
        let bytes = RangeResponse { kvs: vec![kv] }.encode_to_vec();
        let [field] = all(&bytes)[..] else { panic!("{bytes:?}") };
        assert_eq!(field.tag, 2);
        let mut read = Vec::new();
        field.each(|field| read.push((field.tag, field.number, field.bytes.len()))).unwrap();
        assert_eq!(read, [(1, 0, 1), (3, u64::MAX >> 1, 0), (5, 0, 300)]);
    }

    #[test]
    fn what_is_cut_off_is_not_there_yet_and_what_is_no_field_is_an_error() {
        let bytes = KeyValue { key: "key".into(), mod_revision: 300, value: "value".into() }.encode_to_vec();
        for end in 0..bytes.len() {
            let fields = all(&bytes[..end]);
            assert!(fields.len() < 3, "{end}");
            let whole = Field { tag: 1, number: 0, bytes: &bytes[..end] };
            assert_eq!(whole.each(|_| ()).is_ok(), [0, 5, 8].contains(&end), "{end}");
        }
        for bad in
            [&[0x0b][..], &[0xff; 11], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert!(Field::first(&mut { bad }).is_err(), "{bad:?}");
        }
        let endless = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(Field::first(&mut &endless[..]).unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_in_place_is_what_prost_reads(bytes in proptest::collection::vec(0_u8.., 0..64)) {
            if let Ok(kv) = KeyValue::decode(&bytes[..]) {
                let whole = Field { tag: 0, number: 0, bytes: &bytes };
                let (mut key, mut value) = (&[][..], &[][..]);
                let read = whole.each(|field| match field.tag {
                    1 => key = field.bytes,
                    5 => value = field.bytes,
                    _ => {}
                });
                // Groups, which etcd has none of, are not read.
                if read.is_ok() {
                    proptest::prop_assert_eq!((key, value), (&kv.key[..], &kv.value[..]));
                }
            }
        }
    }
}
