//! Reads heads and bodies, each byte once.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::gomicro::{LONGEST, Message};

/// The longest head.
pub(crate) const LONGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 128;

/// What stands before the headers.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Request { method: String, path: String },
    Response(StatusCode),
}

/// A head and where its body lies.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) start: Start,
    pub(crate) headers: HeaderMap,
    /// Whether the connection ends with this message.
    pub(crate) last: bool,
    length: usize,
    body: Length,
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Exact(usize),
    Chunked,
}

/// Which side sends what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Reads the head at the front of `buffer`; `None` while it is not all there.
pub(crate) fn head(buffer: &[u8], side: Side) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let bad = |error: httparse::Error| invalid(format!("no HTTP: {error}"));
    let (status, start, version, fields) = match side {
        Side::Client => {
            let mut request = httparse::Request::new(&mut fields);
            let status = request.parse(buffer).map_err(bad)?;
            let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
            let start = Start::Request { method: method.to_owned(), path: path.to_owned() };
            (status, start, request.version, request.headers)
        }
        Side::Server => {
            let mut response = httparse::Response::new(&mut fields);
            let status = response.parse(buffer).map_err(bad)?;
            let code = StatusCode::from_u16(response.code.unwrap_or(200)).map_err(io::Error::other)?;
            (status, Start::Response(code), response.version, response.headers)
        }
    };
    let httparse::Status::Complete(length) = status else {
        return Ok(None);
    };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(io::Error::other)?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(io::Error::other)?);
    }
    let body = body_length(&headers)?;
    let says = |word| {
        let value = headers.get(header::CONNECTION).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.to_ascii_lowercase().contains(word))
    };
    let last = says("close") || (version == Some(0) && !says("keep-alive"));
    Ok(Some(Head { start, headers, last, length, body }))
}

/// Whatever two readers could understand differently is refused.
fn body_length(headers: &HeaderMap) -> io::Result<Length> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Length::Exact(0)),
        (Some(length), None) if lengths.next().is_none() => {
            let text = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = text.and_then(|text| text.parse().ok()).filter(|length| *length <= LONGEST);
            length
                .map(Length::Exact)
                .ok_or_else(|| invalid(format!("a body that is not 0..={LONGEST} bytes")))
        }
        (None, Some(coding))
            if codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(Length::Chunked)
        }
        _ => Err(invalid("a body of two lengths")),
    }
}

/// Whether a head may end in `buffer`, of which the first `seen` bytes have been looked at.
pub(crate) fn may_end(buffer: &[u8], seen: usize) -> bool {
    let fresh = &buffer[seen.saturating_sub(3).min(buffer.len())..];
    fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n")
}

/// How much of a body has been read.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// How far behind the head everything is in `body`.
    read: usize,
    body: BytesMut,
}

/// Takes the message that begins with `head` off the front of `buffer`; `None` while it is not all there. What has been
/// read of it is kept in `progress`, so that each byte is looked at once.
pub(crate) fn message(
    buffer: &mut BytesMut,
    head: &Head,
    progress: &mut Progress,
) -> io::Result<Option<Message>> {
    let rest = &buffer[head.length..];
    match head.body {
        Length::Exact(length) if rest.len() < length => return Ok(None),
        Length::Exact(length) => {
            buffer.advance(head.length);
            let body = buffer.split_to(length).freeze();
            return Ok(Some(Message { headers: head.headers.clone(), body }));
        }
        Length::Chunked if !chunks(rest, progress)? => return Ok(None),
        Length::Chunked => {}
    }
    let Progress { read, body } = std::mem::take(progress);
    buffer.advance(head.length + read);
    Ok(Some(Message { headers: head.headers.clone(), body: body.freeze() }))
}

/// Reads on in a body in chunks, and says whether it is at its end.
fn chunks(bytes: &[u8], progress: &mut Progress) -> io::Result<bool> {
    let Progress { read, body } = progress;
    loop {
        let rest = bytes.get(*read..).unwrap_or_default();
        let size = httparse::parse_chunk_size(rest).map_err(|_| invalid("no chunk"))?;
        let httparse::Status::Complete((line, size)) = size else {
            return if rest.len() > 128 { Err(invalid("no end of a chunk's size")) } else { Ok(false) };
        };
        let size = usize::try_from(size).ok().filter(|size| *size <= LONGEST - body.len());
        let size = size.ok_or_else(|| invalid(format!("a body of more than {LONGEST} bytes")))?;
        let rest = &rest[line..];
        if size == 0 {
            // No trailers: go-micro has none.
            return match rest {
                [b'\r', b'\n', ..] => {
                    *read += line + 2;
                    Ok(true)
                }
                [] | [b'\r'] => Ok(false),
                _ => Err(invalid("trailers")),
            };
        }
        match rest {
            rest if rest.len() < size + 2 => return Ok(false),
            rest if &rest[size..size + 2] != b"\r\n" => return Err(invalid("a chunk longer than it says")),
            rest => body.extend_from_slice(&rest[..size]),
        }
        *read += line + size + 2;
        if *read > 4 * body.len() + LONGEST_HEAD {
            return Err(invalid("chunks that are mostly frames"));
        }
    }
}

/// Reads one message after another.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    io: R,
    buffer: BytesMut,
    side: Side,
    head: Option<Head>,
    progress: Progress,
    /// How much of the buffer was looked at for the end of a head.
    seen: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Begins with what is in `buffer`.
    pub(crate) fn new(io: R, buffer: BytesMut, side: Side) -> Self {
        Self { io, buffer, side, head: None, progress: Progress::default(), seen: 0 }
    }

    /// The next head, without its body. Dropping the future loses nothing.
    pub(crate) async fn head(&mut self) -> io::Result<Option<&Head>> {
        while self.head.is_none() {
            let whole = may_end(&self.buffer, self.seen);
            self.seen = self.buffer.len();
            if whole && let Some(head) = head(&self.buffer, self.side)? {
                (self.head, self.seen) = (Some(head), 0);
            } else if self.seen > LONGEST_HEAD {
                return Err(invalid(format!("a head of more than {LONGEST_HEAD} bytes")));
            } else if !self.fill().await? {
                return Ok(None);
            }
        }
        Ok(self.head.as_ref())
    }

    /// The next message with its head; `None` where the peer has none left. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<(Head, Message)>> {
        if self.head().await?.is_none() {
            return Ok(None);
        }
        while let Some(head) = &self.head {
            if let Some(message) = message(&mut self.buffer, head, &mut self.progress)? {
                return Ok(self.head.take().map(|head| (head, message)));
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(None)
    }

    /// Whether nothing has been read of the next message.
    pub(crate) fn is_between(&self) -> bool {
        self.buffer.is_empty() && self.head.is_none()
    }

    /// False at a clean end.
    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(8 << 10);
        match self.io.read_buf(&mut self.buffer).await? {
            0 if self.buffer.is_empty() => Ok(false),
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(true),
        }
    }

    /// The stream, and what was read of it beyond the last message.
    pub(crate) fn into_parts(self) -> (R, Bytes) {
        (self.io, self.buffer.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Option<Message>> {
        let Some(head) = head(bytes, Side::Client)? else { return Ok(None) };
        message(&mut BytesMut::from(bytes), &head, &mut Progress::default())
    }

    #[test]
    fn a_message_is_there_when_its_last_byte_is() {
        let whole = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nMicro-Id: 1\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).unwrap().is_none(), "{end}");
        }
        let message = read(whole).unwrap().unwrap();
        assert_eq!((&message.body[..], message.micro("id")), (&b"abcde"[..], Some("1")));
    }

    #[tokio::test]
    async fn a_message_may_come_byte_by_byte() {
        let whole =
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".repeat(2);
        let (mut peer, io) = tokio::io::duplex(1);
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut peer, whole.as_bytes()).await });
        let mut reader = Reader::new(io, BytesMut::new(), Side::Client);
        for _ in 0..2 {
            assert_eq!(reader.next().await.unwrap().unwrap().1.body, "abcde");
        }
        assert!(reader.next().await.unwrap().is_none() && reader.is_between());
    }

    #[test]
    fn what_is_mostly_frames_is_refused() {
        let mut bytes = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        bytes.extend_from_slice(&b"1\r\na\r\n".repeat(100_000));
        assert!(read(&bytes).is_err());
    }

    #[test]
    fn what_two_readers_would_read_differently_is_refused() {
        for rest in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "Content-Length: +1\r\n\r\n",
            "Content-Length: 99999999999999999999\r\n\r\n",
            "Content-Length: 4194305\r\n\r\n",
            "Transfer-Encoding: gzip\r\n\r\n",
            "Transfer-Encoding: chunked, identity\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
        ] {
            let bytes = format!("POST / HTTP/1.1\r\n{rest}");
            assert!(read(bytes.as_bytes()).is_err(), "{rest:?}");
        }
    }
}
