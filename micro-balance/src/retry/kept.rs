//! Headers that are kept for a time that seldom comes.
//!
//! A clone of a map counts each of its strings one up, and one down when it is dropped: with a locked instruction each.
//! What is copied into one piece costs nothing later.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A path, and headers, one after the other: the lengths of a name and its value, then both.
pub(super) struct Kept {
    bytes: Vec<u8>,
    path: usize,
    headers: usize,
}

/// The bytes of both lengths: the name's, which 16 bits are enough for, a bit that says whether the value is sensitive,
/// and the value's.
const LENGTHS: usize = 8;
const SENSITIVE: u64 = 1 << 16;
/// The bytes that a header of most requests has at most, all in all: to add them up would take as long as to copy them.
const USUAL: usize = 64;

impl Kept {
    pub(super) fn new(path: &str, headers: &HeaderMap) -> Self {
        let mut bytes = Vec::with_capacity(path.len() + headers.len() * USUAL);
        bytes.extend_from_slice(path.as_bytes());
        for (name, value) in headers {
            let (name, value, sensitive) = (name.as_str(), value.as_bytes(), value.is_sensitive());
            let lengths = name.len() as u64 | u64::from(sensitive) << 16 | (value.len() as u64) << 17;
            bytes.extend_from_slice(&lengths.to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value);
        }
        Self { bytes, path: path.len(), headers: headers.len() }
    }

    pub(super) fn path(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.path]).unwrap_or_default()
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(own, ..)| *own == name.as_bytes()).map(|(_, value, _)| value)
    }

    /// The headers as they were, with room for one more.
    pub(super) fn map(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.headers + 1);
        for (name, value, sensitive) in self.iter() {
            if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                value.set_sensitive(sensitive);
                headers.append(name, value);
            }
        }
        headers
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], bool)> {
        let mut rest = &self.bytes[self.path..];
        std::iter::from_fn(move || {
            let (lengths, strings) = rest.split_first_chunk::<LENGTHS>()?;
            let lengths = u64::from_le_bytes(*lengths);
            let (name, strings) = strings.split_at_checked(usize::from(lengths as u16))?;
            let (value, strings) = strings.split_at_checked((lengths >> 17) as usize)?;
            rest = strings;
            Some((name, value, lengths & SENSITIVE != 0))
        })
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("headers", &self.headers).finish_non_exhaustive()
    }
}
