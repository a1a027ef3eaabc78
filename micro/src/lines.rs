//! Lines out of bytes that come in pieces, each byte of which is looked at once.

use bytes::{Buf as _, Bytes, BytesMut};

/// What has come, and was not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    read: BytesMut,
    /// How much of `read` is known to have no end of a line.
    looked: usize,
}

impl Lines {
    /// More has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        match self.read[self.looked..].iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let line = self.read.split_to(self.looked + end);
                self.read.advance(1);
                self.looked = 0;
                Some(line.freeze())
            }
            None => {
                self.looked = self.read.len();
                None
            }
        }
    }

    /// What came behind the last end of a line, if anything did.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.looked = 0;
        (!self.read.is_empty()).then(|| self.read.split().freeze())
    }

    /// How many bytes were not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.read.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_their_bytes_come() {
        let text = b"one\n\ntwo\nthree";
        for size in 1..=text.len() {
            let (mut lines, mut said) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.push(piece);
                said.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(lines.len(), 5, "{size}");
            said.extend(lines.rest());
            assert_eq!(said, ["one", "", "two", "three"], "{size}");
            assert_eq!((lines.next(), lines.rest()), (None, None));
        }
    }
}
