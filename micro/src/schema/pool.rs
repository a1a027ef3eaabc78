//! From the bytes of descriptors to a pool, whoever sent them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};
use prost_reflect::{DescriptorPool, MessageDescriptor};

use super::editions;
use super::error::Error;

/// All files together are 32 MiB at most: the largest public interfaces have 10.
pub(super) const MOST_BYTES: usize = 32 << 20;
/// There are 10 000 files at most.
pub(super) const MOST_FILES: usize = 10_000;

/// The pool of `files`, each the bytes of a `FileDescriptorProto`, in any order and complete.
///
/// Bytes it stays: options that are not known here, such as `google.api.http`, survive.
pub(super) fn build(files: &[Vec<u8>]) -> Result<DescriptorPool, Error> {
    if files.len() > MOST_FILES || files.iter().map(Vec::len).sum::<usize>() > MOST_BYTES {
        let most = MOST_BYTES >> 20;
        return Err(Error::invalid(format!("more than {MOST_FILES} files, or {most} MiB of them")));
    }
    let mut set = Vec::new();
    for file in files {
        let file = editions::lower(file)?;
        encode_key(1, WireType::LengthDelimited, &mut set);
        encode_varint(file.len() as u64, &mut set);
        set.extend_from_slice(&file);
    }
    // The parser indexes into tables that hostile descriptors say the size of.
    let built = catch_unwind(AssertUnwindSafe(|| DescriptorPool::decode(set.as_slice())));
    let pool = match built {
        Ok(Ok(pool)) => pool,
        Ok(Err(error)) => {
            let what = error.to_string();
            return Err(Error::Invalid { what, source: Some(error.into()) });
        }
        Err(_) => return Err(Error::invalid("they contradict themselves")),
    };
    check(&pool)?;
    Ok(pool)
}

/// The files of a `FileDescriptorSet`, as bytes.
pub(super) fn split(mut set: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let broken = |error: prost::DecodeError| Error::Invalid {
        what: "not a descriptor set".to_owned(),
        source: Some(error.into()),
    };
    let mut files = Vec::new();
    let set = &mut set;
    while !set.is_empty() {
        let (tag, wire) = decode_key(set).map_err(broken)?;
        if (tag, wire) != (1, WireType::LengthDelimited) {
            skip_field(wire, tag, set, prost::encoding::DecodeContext::default()).map_err(broken)?;
            continue;
        }
        let length = usize::try_from(decode_varint(set).map_err(broken)?).unwrap_or(usize::MAX);
        let Some((file, rest)) = set.split_at_checked(length) else {
            return Err(Error::invalid("not a descriptor set: it is cut short"));
        };
        files.push(file.to_vec());
        *set = rest;
    }
    if files.is_empty() {
        return Err(Error::invalid("a descriptor set without a file"));
    }
    Ok(files)
}

/// What a file says of itself and of others.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Head {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) dependency: Vec<String>,
}

/// What the parser lets through and would panic on when it is used: a map entry without key or value.
fn check(pool: &DescriptorPool) -> Result<(), Error> {
    let entry = |m: &MessageDescriptor| m.get_field(1).is_some() && m.get_field(2).is_some();
    if let Some(bad) = pool.all_messages().find(|m| m.is_map_entry() && !entry(m)) {
        return Err(Error::invalid(format!("the map entry {} has no key or no value", bad.full_name())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost_types::{
        DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, MessageOptions,
    };

    use super::*;

    fn refusal(file: &FileDescriptorProto) -> String {
        build(&[file.encode_to_vec()]).unwrap_err().to_string()
    }

    fn file() -> FileDescriptorProto {
        FileDescriptorProto {
            name: Some("a.proto".into()),
            syntax: Some("proto3".into()),
            ..Default::default()
        }
    }

    #[test]
    fn what_would_panic_later_is_refused_now() {
        let nothing = EnumDescriptorProto { name: Some("E".into()), ..Default::default() };
        let refused = refusal(&FileDescriptorProto { enum_type: vec![nothing], ..file() });
        assert!(refused.contains("at least one value"), "{refused}");

        let options = Some(MessageOptions { map_entry: Some(true), ..Default::default() });
        let entry = DescriptorProto { name: Some("Entry".into()), options, ..Default::default() };
        let refused = refusal(&FileDescriptorProto { message_type: vec![entry], ..file() });
        assert!(refused.contains("Entry"), "{refused}");
    }

    #[test]
    fn every_single_wrong_byte_is_an_error_or_harmless() {
        let field = |name: &str, number, oneof_index| FieldDescriptorProto {
            name: Some(name.into()),
            number: Some(number),
            r#type: Some(9),
            label: Some(1),
            oneof_index,
            ..Default::default()
        };
        let oneof = prost_types::OneofDescriptorProto { name: Some("o".into()), options: None };
        let message = DescriptorProto {
            name: Some("M".into()),
            field: vec![field("a", 1, None), field("b", 2, Some(0))],
            oneof_decl: vec![oneof],
            ..Default::default()
        };
        let good = FileDescriptorProto { message_type: vec![message], ..file() }.encode_to_vec();
        build(std::slice::from_ref(&good)).unwrap();
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1, good[at].wrapping_add(8)] {
                let mut bad = good.clone();
                bad[at] = byte;
                build(&[bad]).ok();
                build(&[good[..at].to_vec()]).ok();
            }
        }
    }

    #[test]
    fn sets_that_are_cut_short_empty_or_too_large_are_refused() {
        assert!(split(b"").is_err());
        assert!(split(b"\x0a\x05ab").is_err());
        assert!(split(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").is_err());
        assert_eq!(split(b"\x0a\x02ab\x10\x01").unwrap(), [b"ab"]);
        assert!(build(&vec![Vec::new(); MOST_FILES + 1]).is_err());
    }
}
