//! Reads a body that comes in chunks: <https://www.rfc-editor.org/rfc/rfc9112#section-7.1>.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::head::Unreadable;
use crate::gomicro::http1::may_end;

/// As long may all extensions of chunks be together, and so long all trailers.
const LONGEST: usize = 16 << 10;
const MOST_TRAILERS: usize = 100;

/// How far the body has been read.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    next: Next,
    /// How long the lines with the chunks' sizes were beyond what a size needs.
    extensions: usize,
    /// How much of the buffer was looked at for the end of the trailers.
    seen: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Size,
    Data(u64),
    /// The end of a chunk's last line.
    Break,
    Trailers,
    Nothing,
}

/// What was in the buffer.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Nothing whole: more has to be read.
    Part,
    Over,
}

/// The longest line with a size, without extensions: 16 digits and the end of the line.
const SIZE: usize = 18;

impl Chunked {
    pub(super) fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }

    /// Takes the next piece off the front of `buffer`.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Unreadable> {
        loop {
            match self.next {
                Next::Size => match self.size(buffer)? {
                    Some(0) => self.next = Next::Trailers,
                    Some(size) => self.next = Next::Data(size),
                    None => return Ok(Piece::Part),
                },
                Next::Data(_) if buffer.is_empty() => return Ok(Piece::Part),
                Next::Data(size) => {
                    let taken = usize::try_from(size).unwrap_or(usize::MAX).min(buffer.len());
                    let left = size - taken as u64;
                    self.next = if left == 0 { Next::Break } else { Next::Data(left) };
                    let data = buffer.split_to(taken).freeze();
                    self.end(buffer);
                    return Ok(Piece::Data(data));
                }
                Next::Break => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.next = Next::Size;
                    }
                    None if matches!(&buffer[..], b"" | b"\r") => return Ok(Piece::Part),
                    _ => return Err(Unreadable::invalid("a chunk that is longer than it says")),
                },
                Next::Trailers => return self.trailers(buffer),
                Next::Nothing => return Ok(Piece::Over),
            }
        }
    }

    /// Takes the end of the body, where it is all there and there are no trailers: so whoever has the last data knows that it
    /// is.
    fn end(&mut self, buffer: &mut BytesMut) {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        if self.next == Next::Break && buffer.starts_with(END) {
            buffer.advance(END.len());
            self.next = Next::Nothing;
        }
    }

    fn size(&mut self, buffer: &mut BytesMut) -> Result<Option<u64>, Unreadable> {
        let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
            return match buffer.len() + self.extensions <= LONGEST {
                true => Ok(None),
                false => Err(Unreadable::invalid("extensions of chunks that are too long")),
            };
        };
        let line = buffer.split_to(end + 1);
        self.extensions += line.len().saturating_sub(SIZE);
        if self.extensions > LONGEST {
            return Err(Unreadable::invalid("extensions of chunks that are too long"));
        }
        let digit = line.first().is_some_and(u8::is_ascii_hexdigit);
        match httparse::parse_chunk_size(&line) {
            Ok(httparse::Status::Complete((_, size))) if digit => Ok(Some(size)),
            _ => Err(Unreadable::invalid("a chunk whose size is no number")),
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Piece, Unreadable> {
        if buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.next = Next::Nothing;
            return Ok(Piece::Over);
        }
        let whole = may_end(buffer, self.seen);
        self.seen = buffer.len();
        let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
        let parsed =
            if whole { httparse::parse_headers(buffer, &mut fields) } else { Ok(httparse::Status::Partial) };
        match parsed.map_err(Unreadable::invalid)? {
            httparse::Status::Complete((size, fields)) if size <= LONGEST => {
                let mut trailers = HeaderMap::with_capacity(fields.len());
                for field in fields {
                    let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(Unreadable::invalid)?;
                    let value = HeaderValue::from_bytes(field.value).map_err(Unreadable::invalid)?;
                    trailers.append(name, value);
                }
                buffer.advance(size);
                self.next = Next::Nothing;
                Ok(Piece::Trailers(trailers))
            }
            httparse::Status::Partial if buffer.len() <= LONGEST => Ok(Piece::Part),
            _ => Err(Unreadable::invalid("trailers that are too long")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, how many trailers, and what is left.
    type Body = (Vec<u8>, usize, Vec<u8>);

    /// What is read where `bytes` come in pieces that are so long.
    fn read(bytes: &[u8], piece: usize) -> Result<Option<Body>, Unreadable> {
        let (mut chunked, mut buffer, mut data, mut trailers) =
            (Chunked::default(), BytesMut::new(), Vec::new(), 0);
        let mut pieces = bytes.chunks(piece.max(1));
        loop {
            match chunked.next(&mut buffer)? {
                Piece::Data(more) => data.extend_from_slice(&more),
                Piece::Trailers(more) => trailers = more.len(),
                Piece::Over => {
                    let left = buffer.iter().chain(pieces.flatten()).copied().collect();
                    return Ok(Some((data, trailers, left)));
                }
                Piece::Part => match pieces.next() {
                    Some(more) => buffer.extend_from_slice(more),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn a_body_ends_where_it_says_however_it_comes() {
        for (end, trailers) in [("0\r\n\r\n", 0), ("00;a=b\r\n\r\n", 0), ("0\r\na: b\r\nc: d\r\n\r\n", 2)] {
            let whole = format!("3\r\nabc\r\nA ;x=y\r\n0123456789\r\n{end}");
            let more = format!("{whole}HTTP/1.1 200");
            for piece in 1..=more.len() {
                let (data, seen, left) = read(more.as_bytes(), piece).unwrap().unwrap();
                assert_eq!((&data[..], seen), (&b"abc0123456789"[..], trailers));
                assert_eq!(left, b"HTTP/1.1 200");
            }
            for end in 0..whole.len() {
                assert!(read(&whole.as_bytes()[..end], 7).unwrap().is_none(), "{end}");
            }
        }
    }

    #[test]
    fn the_last_data_is_known_to_be_the_last_where_the_end_has_come_with_it() {
        let (mut chunked, mut buffer) = (Chunked::default(), BytesMut::from(&b"1\r\na\r\n0\r\n\r\n"[..]));
        assert!(matches!(chunked.next(&mut buffer).unwrap(), Piece::Data(_)));
        assert!(chunked.is_over() && buffer.is_empty());
    }

    #[test]
    fn what_two_readers_would_read_differently_is_refused() {
        for bytes in [
            "\r\n",
            ";\r\n",
            " 1\r\na\r\n",
            "g\r\n",
            "-1\r\n",
            "0x1\r\n",
            "1\na\r\n",
            "1;x\ny\r\na\r\n",
            "11111111111111111\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "0\r\na\r\n\r\n",
            "0\r\n: b\r\n\r\n",
        ] {
            for piece in [1, bytes.len()] {
                assert!(read(bytes.as_bytes(), piece).is_err(), "{bytes:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_says_more_of_chunks_than_they_hold_is_refused() {
        let long = "x".repeat(2 * LONGEST);
        let many = "1;0123456789abcdef\r\na\r\n".repeat(LONGEST);
        let trailers = "a: b\r\n".repeat(MOST_TRAILERS + 1);
        let all = [
            format!("1;{long}"),
            format!("1;{long}\r\n"),
            many,
            format!("0\r\na: {long}"),
            format!("0\r\n{trailers}\r\n"),
        ];
        for bytes in all {
            assert!(read(bytes.as_bytes(), 1000).is_err());
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_to_the_same_end_in_any_pieces(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'0'), any::<u8>()], 0..64),
            piece in 1_usize..9,
        ) {
            match (read(&bytes, piece), read(&bytes, 64)) {
                (Ok(some), Ok(same)) => prop_assert_eq!(some, same),
                (Err(_), Err(_)) => {}
                // Who has the whole sees what is wrong in it, where the other still waits.
                (Ok(None), Err(_)) | (Err(_), Ok(None)) => {}
                (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
            }
        }
    }
}
