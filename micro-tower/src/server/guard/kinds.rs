//! Which bytes may stand where in a head, and where one is: each byte of each request comes by here, so a table tells.

/// RFC 9110, section 5.6.2.
pub(super) const TOKEN: u8 = 1;
/// In a target.
pub(super) const TARGET: u8 = 1 << 1;
/// In the value of a header.
pub(super) const VALUE: u8 = 1 << 2;
/// In the name of a host, or its address where that has brackets.
pub(super) const HOST: u8 = 1 << 3;
pub(super) const ADDRESS: u8 = 1 << 4;

static KINDS: [u8; 256] = {
    let (mut kinds, mut byte) = ([0; 256], 0);
    while byte < 256 {
        kinds[byte] = kinds_of(byte as u8);
        byte += 1;
    }
    kinds
};

const fn kinds_of(byte: u8) -> u8 {
    let word = byte.is_ascii_alphanumeric();
    let mut kinds = 0;
    if word || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~') {
        kinds |= TOKEN;
    }
    if byte.is_ascii_graphic() && byte != b'#' {
        kinds |= TARGET;
    }
    if byte >= b' ' && byte != 0x7f || byte == b'\t' {
        kinds |= VALUE;
    }
    if word || matches!(byte, b'!' | b'$'..=b'.' | b':' | b';' | b'=' | b'_' | b'~') {
        kinds |= HOST;
    }
    if byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.') {
        kinds |= ADDRESS;
    }
    kinds
}

/// Whether each of `bytes` is of `kind`.
pub(super) fn all(bytes: &[u8], kind: u8) -> bool {
    // All of them, without a branch for each: most are.
    bytes.iter().fold(kind, |kinds, &byte| kinds & KINDS[usize::from(byte)]) != 0
}

pub(super) fn is_token(byte: u8) -> bool {
    all(&[byte], TOKEN)
}

/// Where the first `wanted` is: eight bytes are looked at in one.
pub(super) fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = LOW << 7;
    let (eights, rest) = bytes.as_chunks();
    for (at, eight) in eights.iter().enumerate() {
        // Zero where it is. The lowest zero byte, if there is one, has the lowest high bit of this.
        let differs = u64::from_le_bytes(*eight) ^ (LOW * u64::from(wanted));
        let found = differs.wrapping_sub(LOW) & !differs & HIGH;
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&byte| byte == wanted).map(|at| eights.len() * 8 + at)
}

/// What is before the first `at`, and behind it.
pub(super) fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    find(bytes, at).map(|end| (&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_the_rfcs() {
        let of = |kind| -> Vec<u8> { (0..=255).filter(|&byte| all(&[byte], kind)).collect() };
        let others = |kind| -> String {
            of(kind).into_iter().filter(|byte| !byte.is_ascii_alphanumeric()).map(char::from).collect()
        };
        assert_eq!(others(TOKEN), "!#$%&'*+-.^_`|~");
        assert_eq!(others(HOST), "!$%&'()*+,-.:;=_~");
        assert_eq!(of(TARGET), (0x21..0x7f).filter(|&byte| byte != b'#').collect::<Vec<_>>());
        assert_eq!(of(VALUE).len(), 256 - 32 - 1 + 1);
        assert!(!all(b"\r", VALUE) && !all(b"\n", VALUE) && all(b"\t \xff", VALUE));
        assert_eq!(of(ADDRESS), b".0123456789:ABCDEFabcdef");
    }

    #[test]
    fn the_first_is_found_wherever_it_is() {
        for length in 0..40 {
            for at in 0..length {
                // Those that differ in the lowest bit, or by a borrow, are not taken for it.
                let mut bytes = vec![b':' + 1; length];
                bytes[..at].fill(b':' ^ 0x80);
                bytes[at] = b':';
                assert_eq!(find(&bytes, b':'), Some(at));
                assert_eq!(find(&bytes[..at], b':'), None);
                assert_eq!(split(&bytes, b':').unwrap().1.len(), length - at - 1);
            }
        }
    }
}
