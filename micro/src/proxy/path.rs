//! Refuses paths that mean one thing here and another thing behind us.

/// Why `path` is refused, if it is: a server behind us might resolve it to a place we did not route it to.
///
/// An encoded slash passes as it is, as through Envoy and nginx: names have slashes in many an API. What is between two
/// of them may be no `..` either.
///
/// ```
/// assert_eq!(micro::proxy::check_path("/greeter/hello%20you"), Ok(()));
/// assert!(micro::proxy::check_path("/greeter/%2e%2e/admin").is_err());
/// ```
///
/// # Errors
///
/// What is wrong, in words.
pub fn check(path: &str) -> Result<(), &'static str> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err("the path does not begin with a slash");
    }
    if bytes.get(1) == Some(&b'/') || bytes.get(1..4).is_some_and(|next| next.eq_ignore_ascii_case(b"%2f")) {
        return Err("the path begins with two slashes");
    }
    // What is ordinary, which is nearly all there is, is read once.
    if is_ordinary(bytes) {
        return Ok(());
    }
    let mut segment = Segment::default();
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'/' => {
                segment.end()?;
                segment = Segment::default();
            }
            b'%' => {
                let (byte, after) = decode(rest).ok_or("the path has a broken percent-encoding")?;
                rest = after;
                match byte {
                    b'/' => {
                        segment.end()?;
                        segment = Segment::default();
                    }
                    b'\\' => return Err("the path hides a backslash"),
                    0..=0x1f | 0x7f => return Err("the path hides a control character"),
                    // A second round of decoding must not find what the first did not.
                    b'%' if decode(rest)
                        .is_some_and(|(byte, _)| matches!(byte, b'.' | b'/' | b'\\' | b'%')) =>
                    {
                        return Err("the path is encoded twice");
                    }
                    byte => segment.push(byte),
                }
            }
            b'\\' => return Err("the path has a backslash"),
            b'#' => return Err("the path has a fragment"),
            0..=0x20 | 0x7f.. => return Err("the path has a character that has to be encoded"),
            byte => segment.push(byte),
        }
    }
    segment.end()
}

/// Whether nothing in `path` has to be looked at twice. A dot behind a letter is in no segment of nothing but dots.
fn is_ordinary(path: &[u8]) -> bool {
    let mut before = b'/';
    path.iter().all(|&byte| {
        let letter_before = before.is_ascii_alphanumeric();
        before = byte;
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_') || (byte == b'.' && letter_before)
    })
}

/// What matters of a segment: whether it is nothing but dots, up to a `;`.
#[derive(Default)]
struct Segment {
    dots: usize,
    other: bool,
    parameters: bool,
}

impl Segment {
    fn push(&mut self, byte: u8) {
        match byte {
            _ if self.parameters => {}
            b'.' => self.dots += 1,
            // Some servers cut `..;x` down to `..`.
            b';' => self.parameters = true,
            _ => self.other = true,
        }
    }

    fn end(&self) -> Result<(), &'static str> {
        if !self.other && matches!(self.dots, 1 | 2) {
            return Err("the path climbs with . or ..");
        }
        Ok(())
    }
}

fn decode(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<2>()?;
    let digit = |at: usize| char::from(digits[at]).to_digit(16);
    Some(((digit(0)? * 16 + digit(1)?) as u8, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in [
            "/",
            "/a",
            "/a/b-c_d.e",
            "/a//b",
            "/a/%20b",
            "/a/...",
            "/a/.b",
            "/a/b.",
            "/a/%2Eb",
            "/~x/@y:z",
            "/100%25",
            "/queues/%2F/mail",
            "/projects/group%2fname",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn tricks_are_refused() {
        for path in [
            "",
            "a",
            "//a",
            "*",
            "/a/../b",
            "/..",
            "/.",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/.%2E",
            "/%2e",
            "/a/..;x/b",
            "/%2fa",
            "/a/..%2fb",
            "/a/b%2F.%2e%2Fc",
            "/a/b%2f.",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a#b",
            "/a b",
            "/\u{e4}",
            "/a%252e%252e",
            "/a%252fb",
            "/a%25252f",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
    }
}
