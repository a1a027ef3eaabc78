//! Reads the head of a response.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;
use tower::BoxError;

use super::length::{Length, length};
use crate::error::{Error, Phase};

/// As many headers are read, as hyper does.
const MOST_HEADERS: usize = 100;

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) length: Length,
    /// Whether the connection may be used again after the body.
    pub(super) keeps: bool,
}

/// What the front of what was read is.
#[derive(Debug)]
pub(super) enum Read {
    /// A head that is so long.
    Head(Head, usize),
    /// A head of so many bytes that only says that another comes.
    Informational(usize),
    /// A head that is not all there.
    Part,
}

/// An answer that cannot be read: to ask whether the peer has stopped would lead astray.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the head of its answer is too long, or has more than {MOST_HEADERS} headers")]
    TooLong(#[source] BoxError),
    #[error("what it said is not valid HTTP/1.1")]
    Invalid(#[source] BoxError),
}

impl Unreadable {
    pub(super) fn invalid(why: impl Into<BoxError>) -> Self {
        Self::Invalid(why.into())
    }
}

/// Why there was no answer, where this was the reason.
pub(super) fn unanswered(reason: impl Into<BoxError>) -> Error {
    let reason = reason.into();
    let unreadable = reason.is::<Unreadable>();
    let error = Error::new(Phase::Wait, reason);
    if unreadable { error.without_hint() } else { error }
}

/// Reads the head at the front of `bytes`, of the answer to a request for a head only where `head_only`. Its headers are put
/// into `spare`, which is empty.
pub(super) fn read(bytes: &Bytes, head_only: bool, spare: &mut HeaderMap) -> Result<Read, Unreadable> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let size = match parser.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(Read::Part),
        Err(error @ httparse::Error::TooManyHeaders) => return Err(Unreadable::TooLong(error.into())),
        Err(error) => return Err(Unreadable::invalid(error)),
    };
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(Unreadable::invalid)?;
    if status.is_informational() {
        return match status {
            StatusCode::SWITCHING_PROTOCOLS => {
                Err(Unreadable::invalid("it changed the protocol, which it was not asked to"))
            }
            _ => Ok(Read::Informational(size)),
        };
    }
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = std::mem::take(spare);
    headers.reserve(parsed.headers.len());
    let mut asks = Asks::default();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(Unreadable::invalid)?;
        let value =
            HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).map_err(Unreadable::invalid)?;
        if name == header::CONNECTION {
            asks.hear(&value);
        }
        headers.append(name, value);
    }
    let (length, clear) = length(status, version, head_only, &mut headers)?;
    let keeps = clear && length != Length::UntilClosed && asks.keeps(version);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    if parsed.reason != status.canonical_reason()
        && let Some(Ok(reason)) = parsed.reason.map(|reason| ReasonPhrase::try_from(reason.as_bytes()))
    {
        response.extensions_mut().insert(reason);
    }
    Ok(Read::Head(Head { response, length, keeps }, size))
}

/// What `connection` says of the connection.
#[derive(Default)]
struct Asks {
    close: bool,
    keep: bool,
}

impl Asks {
    fn hear(&mut self, value: &HeaderValue) {
        self.close |= lists(value, "close");
        self.keep |= lists(value, "keep-alive");
    }

    fn keeps(&self, version: Version) -> bool {
        !self.close && (self.keep || version == Version::HTTP_11)
    }
}

/// Whether `value` has `word` in its list.
pub(super) fn lists(value: &HeaderValue, word: &str) -> bool {
    let mut words = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    words.any(|listed| listed.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &'static str) -> Result<Read, Unreadable> {
        read(&Bytes::from_static(bytes.as_bytes()), false, &mut HeaderMap::new())
    }

    #[test]
    fn a_head_is_read_when_all_of_it_is_there() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        for end in 0..whole.len() - 2 {
            assert!(matches!(head(&whole[..end]), Ok(Read::Part)), "{end}");
        }
        let Ok(Read::Head(head, size)) = head(whole) else { panic!("it is there") };
        assert_eq!((head.length, head.keeps, &whole[size..]), (Length::Exact(2), true, "hi"));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for bytes in [
            "SSH-2.0-x\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 99 X\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ] {
            assert!(matches!(head(bytes), Err(Unreadable::Invalid(_))), "{bytes:?}");
        }
    }

    #[test]
    fn headers_are_put_into_the_room_there_is() {
        let mut spare = HeaderMap::with_capacity(32);
        let room = spare.capacity();
        let bytes = Bytes::from_static(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n");
        let Ok(Read::Head(head, _)) = read(&bytes, false, &mut spare) else { panic!("it is there") };
        assert_eq!((head.response.headers().capacity(), spare.capacity()), (room, 0));
    }
}
