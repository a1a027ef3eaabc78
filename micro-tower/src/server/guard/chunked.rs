//! Follows a chunked body to its end, byte by byte, as strictly as a head is read.

use super::kinds::is_token;

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunked {
    /// In the size of a chunk, of which there are so many digits so far.
    Size {
        size: u64,
        digits: u8,
    },
    /// In an extension, which goes no further than so many bytes.
    Extension {
        size: u64,
        length: u16,
    },
    /// Before the LF that ends the line of a size.
    SizeLf {
        size: u64,
    },
    /// In data of which there is so much left.
    Data {
        left: u64,
    },
    /// Before the CR and the LF behind data.
    DataCr,
    DataLf,
    /// At the start of a trailer line, of which so many bytes may come.
    Line {
        budget: u16,
    },
    /// In a trailer line, before or behind its colon.
    Trailer {
        budget: u16,
        colon: bool,
    },
    /// Before the LF that ends a trailer line.
    TrailerLf {
        budget: u16,
    },
    /// Before the LF that ends the body.
    LastLf,
    /// Behind it.
    Ended,
}

/// What all trailers together, and each extension, may have.
const TRAILERS: u16 = 8 << 10;
const EXTENSION: u16 = 256;
/// More digits than any chunk's size has, without leading zeros to hide in.
const DIGITS: u8 = 16;

impl Chunked {
    pub(super) fn new() -> Self {
        Self::Size { size: 0, digits: 0 }
    }

    /// Follows `bytes`: how many of them belong to the body, which is all of them unless it has ended.
    ///
    /// # Errors
    ///
    /// The body is not what it says it is; so many bytes of it were.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let mut at = 0;
        while at < bytes.len() && !self.has_ended() {
            if let Self::Data { left } = self {
                let step = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= step as u64;
                at += step;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            *self = self.next(bytes[at]).ok_or(at)?;
            at += 1;
        }
        Ok(at)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                Self::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size, length: 0 },
            (Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Extension { size, length }, byte) if length < EXTENSION && is_text(byte) => {
                Self::Extension { size, length: length + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::Line { budget: TRAILERS },
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::new(),
            (Self::Line { .. }, b'\r') => Self::LastLf,
            (Self::Line { budget }, byte) if is_token(byte) => Self::Trailer { budget, colon: false },
            (Self::Trailer { budget, colon: true }, b'\r') => Self::TrailerLf { budget },
            (Self::Trailer { budget, colon: false }, b':') => Self::Trailer { budget, colon: true },
            (Self::Trailer { budget: budget @ 1.., colon: true }, byte) if is_text(byte) => {
                Self::Trailer { budget: budget - 1, colon: true }
            }
            (Self::Trailer { budget: budget @ 1.., colon: false }, byte) if is_token(byte) => {
                Self::Trailer { budget: budget - 1, colon: false }
            }
            (Self::TrailerLf { budget }, b'\n') => Self::Line { budget },
            (Self::LastLf, b'\n') => Self::Ended,
            _ => return None,
        })
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(body: &[u8]) -> Result<usize, usize> {
        let mut chunked = Chunked::new();
        let all = chunked.follow(body)?;
        let mut again = Chunked::new();
        let each = body.chunks(1).map(|byte| again.follow(byte)).sum::<Result<usize, usize>>();
        assert_eq!(each.ok(), Some(all), "in one piece and byte by byte");
        assert!(chunked.has_ended());
        Ok(all)
    }

    #[test]
    fn a_body_ends_where_it_says() {
        for body in
            ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "A;x=y\r\n0123456789\r\n00\r\nX: y\r\nZ:\r\n\r\n"]
        {
            assert_eq!(follow(body.as_bytes()), Ok(body.len()), "{body:?}");
            assert_eq!(follow(format!("{body}GET").as_bytes()), Ok(body.len()), "{body:?}");
        }
    }

    #[test]
    fn whatever_could_be_read_twice_is_refused() {
        for body in [
            "\r\n",
            "g\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\t\r\n",
            "0x5\r\n",
            "+5\r\n",
            "-5\r\n",
            ";\r\n",
            "5\nhello",
            "5\rhello",
            "5\r\nhello\n",
            "5\r\nhelloX",
            "5\r\nhello0\r\n",
            "5;a\nb\r\n",
            "5;\0\r\n",
            "0\r\n\n",
            "0\r\nX\r\n",
            "0\r\n X: y\r\n",
            "0\r\nX: y\n",
            "0\r\nX: \0\r\n",
            "00000000000000005\r\n",
            "fffffffffffffffff\r\n",
        ] {
            assert!(Chunked::new().follow(body.as_bytes()).is_err(), "{body:?}");
        }
        let long = "x".repeat(300);
        assert!(Chunked::new().follow(format!("5;{long}\r\n").as_bytes()).is_err());
        let long = "x".repeat(10_000);
        assert!(Chunked::new().follow(format!("0\r\nX: {long}\r\n").as_bytes()).is_err());
    }
}
