//! proto-rpc: a header and a body, each behind its length in four bytes.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tower::BoxError;

use super::LONGEST;

/// The header of a call, and of an answer, which has an error besides. v0 writes every field, later versions
/// only what is not empty.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    #[prost(string, optional, tag = "1")]
    pub(crate) method: Option<String>,
    #[prost(fixed64, optional, tag = "2")]
    pub(crate) seq: Option<u64>,
    #[prost(string, optional, tag = "3")]
    pub(crate) error: Option<String>,
}

/// Reads a message; what stands behind it is ignored.
pub(crate) fn read(body: &Bytes) -> Result<(Header, Bytes), BoxError> {
    let (header, rest) = part(body)?;
    // An answer without a body may leave its length out.
    let payload = if rest.is_empty() { Bytes::new() } else { part(&rest)?.0 };
    Ok((Header::decode(header)?, payload))
}

/// One part and what follows it.
fn part(bytes: &Bytes) -> Result<(Bytes, Bytes), BoxError> {
    let Some((length, _)) = bytes.split_first_chunk() else { return Err("its length is missing".into()) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > LONGEST {
        return Err(format!("a part of {length} bytes is longer than the limit of {LONGEST}").into());
    }
    let end = 4 + length;
    if bytes.len() < end {
        return Err(format!("{length} bytes were announced, {} are there", bytes.len() - 4).into());
    }
    Ok((bytes.slice(4..end), bytes.slice(end..)))
}

pub(crate) fn write(header: &Header, payload: &[u8]) -> Bytes {
    let header = header.encode_to_vec();
    let mut bytes = BytesMut::with_capacity(8 + header.len() + payload.len());
    for part in [&header[..], payload] {
        bytes.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        bytes.put_slice(part);
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_frames_of_v0_and_v6_are_the_same_bytes() {
        let v0 = b"\0\0\0\x17\n\x0cDebug.Health\x11\x05\0\0\0\0\0\0\0\0\0\0\0";
        let (header, payload) = read(&Bytes::from_static(v0)).unwrap();
        assert_eq!((header.method.as_deref(), header.seq), (Some("Debug.Health"), Some(5)));
        assert_eq!(write(&header, &payload), &v0[..]);

        let v0 = b"\0\0\0\x19\n\x0cDebug.Health\x11\x05\0\0\0\0\0\0\0\x1a\0\0\0\0\x04\n\x02ok";
        let (header, payload) = read(&Bytes::from_static(v0)).unwrap();
        assert_eq!((header.error.as_deref(), &payload[..]), (Some(""), &b"\n\x02ok"[..]));
        assert_eq!(write(&header, &payload), &v0[..]);

        let v6 = b"\0\0\0\x09\x11\x08\0\0\0\0\0\0\0\0\0\0\x09\n\x07rsp-abc";
        let (header, payload) = read(&Bytes::from_static(v6)).unwrap();
        assert_eq!((header.method.clone(), header.seq), (None, Some(8)));
        assert_eq!(write(&header, &payload), &v6[..]);
    }

    /// R28 of go-micro: a length that the frame states is believed.
    #[test]
    fn lengths_are_believed_within_the_message_only() {
        for bytes in
            [&b""[..], b"\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x05abc", b"\0\0\0\0\0\0\0\x09a", b"\0\0\0\0\0"]
        {
            assert!(read(&Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }
}
