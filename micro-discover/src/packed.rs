//! Bytes as go-micro puts them where only text may be: zlib in lower-case hex.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// What more than this comes out of is cut, whoever sent it.
const LARGEST: u64 = 1 << 20;

pub(crate) fn pack(bytes: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes everything");
    packed.iter().fold(String::with_capacity(packed.len() * 2), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

pub(crate) fn unpack(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = hex.iter().map(digit).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let packed: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    let mut bytes = Vec::new();
    let mut decoder = ZlibDecoder::new(packed.as_slice()).take(LARGEST);
    decoder.read_to_end(&mut bytes).ok().map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_and_junk_does_not() {
        for bytes in [&b""[..], b"1.0.0", &[0; 100_000]] {
            assert_eq!(unpack(pack(bytes).as_bytes()).as_deref(), Some(bytes));
        }
        for junk in [&b"7"[..], b"zz", b"00ff", b"\xff\xff"] {
            assert_eq!(unpack(junk), None);
        }
    }
}
