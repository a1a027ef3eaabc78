//! What two ends of a pipe tell each other, one message each.

use std::ops::Deref;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The version of what is said here; a server refuses any other.
pub(super) const VERSION: u64 = 2;

/// A message: one byte that says what it is, a number in eight, and data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// From the client, to whoever listens: opens a pipe.
    Open { version: u64 },
    /// From the server: it is open, and this is its number there.
    Accept { pipe: u64 },
    /// A chunk; chunks are counted from 0.
    Data { number: u64, chunk: Bytes },
    /// A message beside the bytes, counted as a chunk.
    Aside { number: u64, message: Bytes },
    /// So many chunks have been used up, and as many more may come.
    Taken { chunks: u64 },
    /// The sender is still there. It has sent so many chunks.
    Alive { sent: u64 },
    /// There are so many chunks, and no more.
    End { sent: u64 },
    /// The pipe is gone.
    Reset,
}

impl Packet {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Data { number, chunk } => {
                encode_data(*number, std::slice::from_ref(chunk), usize::MAX - 9).0
            }
            Self::Aside { number, message } => {
                let mut packet = BytesMut::with_capacity(9 + message.len());
                packet.put_u8(b'm');
                packet.put_u64(*number);
                packet.extend_from_slice(message);
                packet.freeze()
            }
            Self::Open { version } => plain(b'o', *version),
            Self::Accept { pipe } => plain(b'a', *pipe),
            Self::Taken { chunks } => plain(b't', *chunks),
            Self::Alive { sent } => plain(b'l', *sent),
            Self::End { sent } => plain(b'e', *sent),
            Self::Reset => plain(b'r', 0),
        }
    }

    /// `None` for what no version of this has said.
    pub(super) fn decode(mut message: Bytes) -> Option<Self> {
        if message.len() < 9 {
            return None;
        }
        let (kind, number) = (message.get_u8(), message.get_u64());
        Some(match kind {
            b'd' => Self::Data { number, chunk: message },
            b'm' => Self::Aside { number, message },
            b'o' => Self::Open { version: number },
            b'a' => Self::Accept { pipe: number },
            b't' => Self::Taken { chunks: number },
            b'l' => Self::Alive { sent: number },
            b'e' => Self::End { sent: number },
            b'r' => Self::Reset,
            _ => return None,
        })
    }
}

/// A [`Packet::Data`] of what stands in several pieces, but no more of it than `most` bytes; and how many those are.
pub(super) fn encode_data(number: u64, pieces: &[impl Deref<Target = [u8]>], most: usize) -> (Bytes, usize) {
    let length = pieces.iter().map(|piece| piece.len()).sum::<usize>().min(most);
    let mut message = BytesMut::with_capacity(9 + length);
    message.put_u8(b'd');
    message.put_u64(number);
    for piece in pieces {
        let room = 9 + length - message.len();
        message.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    (message.freeze(), length)
}

fn plain(kind: u8, number: u64) -> Bytes {
    let mut message = BytesMut::with_capacity(9);
    message.put_u8(kind);
    message.put_u64(number);
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_reads_as_it_was_written() {
        let chunk = Bytes::from_static(b"bytes");
        for packet in [
            Packet::Open { version: VERSION },
            Packet::Accept { pipe: 7 },
            Packet::Data { number: u64::MAX, chunk: chunk.clone() },
            Packet::Aside { number: 3, message: chunk },
            Packet::Data { number: 0, chunk: Bytes::new() },
            Packet::Taken { chunks: 1 << 40 },
            Packet::Alive { sent: 2 },
            Packet::End { sent: 3 },
            Packet::Reset,
        ] {
            assert_eq!(Packet::decode(packet.encode()), Some(packet));
        }
        let (message, length) = encode_data(5, &[&b"by"[..], b"tes", b"more"], 6);
        assert_eq!((message, length), encode_data(5, &[&b"bytesm"[..]], 9));
    }

    #[test]
    fn what_was_never_written_is_not_read() {
        for message in [&b""[..], b"d", b"d1234567", b"x12345678", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(Packet::decode(Bytes::copy_from_slice(message)), None);
        }
    }
}
