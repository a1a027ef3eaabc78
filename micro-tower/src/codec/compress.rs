//! gzip, with a bound on what comes out.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

/// `bytes` in gzip.
pub fn compress(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all that is written").into()
}

/// What was compressed, if that is `limit` bytes at most.
///
/// # Errors
///
/// It is no gzip, or holds more.
pub fn decompress(bytes: &[u8], limit: usize) -> io::Result<Bytes> {
    let mut out = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    GzDecoder::new(bytes).take(most.saturating_add(1)).read_to_end(&mut out)?;
    if out.len() > limit {
        return Err(io::Error::other(format!("the message holds more than {limit} bytes when decompressed")));
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_a_bomb_does_not() {
        let text = vec![b'a'; 1 << 20];
        let small = compress(&text);
        assert!(small.len() < 10_000);
        assert_eq!(decompress(&small, text.len()).unwrap(), text);
        assert!(decompress(&small, text.len() - 1).is_err());
        assert!(decompress(b"no gzip", 100).is_err());
    }
}
