//! How long the body of a response is: <https://www.rfc-editor.org/rfc/rfc9112#section-6.3>.

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};

use super::head::Unreadable;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Exact(u64),
    Chunked,
    UntilClosed,
}

/// How long the body of a response with these `headers` is, and whether all of them say the same: where two readers could
/// understand them differently, nothing more is read after it.
pub(super) fn length(
    status: StatusCode,
    version: Version,
    head_only: bool,
    headers: &mut HeaderMap,
) -> Result<(Length, bool), Unreadable> {
    if head_only || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok((Length::Exact(0), true));
    }
    if let Some(coding) = headers.get_all(header::TRANSFER_ENCODING).iter().next_back() {
        if version == Version::HTTP_10 {
            return Err(Unreadable::invalid("HTTP/1.0 has no transfer-encoding"));
        }
        let last = coding.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
        let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        let clear = headers.remove(header::CONTENT_LENGTH).is_none();
        return Ok((if chunked { Length::Chunked } else { Length::UntilClosed }, clear));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok((Length::UntilClosed, true)) };
    let invalid = || Unreadable::invalid("a content-length that is no number, or several");
    let length = number(first).ok_or_else(invalid)?;
    match lengths.all(|other| number(other) == Some(length)) {
        true => Ok((Length::Exact(length), true)),
        false => Err(invalid()),
    }
}

/// The number that `value` is; the same number listed several times is one too.
fn number(value: &HeaderValue) -> Option<u64> {
    let mut listed =
        value.as_bytes().split(|byte| *byte == b',').map(|digits| digits_of(digits.trim_ascii()));
    let first = listed.next()??;
    listed.all(|other| other == Some(first)).then_some(first)
}

/// Without a sign, which Rust would read.
fn digits_of(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, fields: &[(&'static str, &'static str)]) -> Result<(Length, bool), Unreadable> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        length(StatusCode::from_u16(status).unwrap(), Version::HTTP_11, false, &mut headers)
    }

    #[test]
    fn a_body_is_as_long_as_its_head_says() {
        let (coding, content) = ("transfer-encoding", "content-length");
        assert_eq!(of(200, &[(content, "5")]).unwrap(), (Length::Exact(5), true));
        assert_eq!(of(200, &[(content, "5, 5"), (content, "5")]).unwrap(), (Length::Exact(5), true));
        assert_eq!(of(200, &[(coding, "gzip, Chunked")]).unwrap(), (Length::Chunked, true));
        assert_eq!(of(200, &[(coding, "chunked, gzip")]).unwrap(), (Length::UntilClosed, true));
        assert_eq!(of(200, &[]).unwrap(), (Length::UntilClosed, true));
        for status in [204, 304] {
            assert_eq!(of(status, &[(content, "5")]).unwrap(), (Length::Exact(0), true));
        }
    }

    #[test]
    fn a_head_that_says_two_things_is_the_last_on_its_connection() {
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(of(200, &both).unwrap(), (Length::Chunked, false));
    }

    #[test]
    fn a_length_that_is_no_number_is_refused() {
        for value in ["", "+5", "-1", "5 5", "5,6", "5,", "0x5", "18446744073709551616"] {
            assert!(of(200, &[("content-length", value)]).is_err(), "{value:?}");
        }
        assert!(of(200, &[("content-length", "5"), ("content-length", "6")]).is_err());
    }
}
