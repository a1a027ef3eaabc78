//! What two ends of a pipe say aside: requests that fit one message, and what becomes of them.
//!
//! Most calls are one short message either way. As HTTP/2 they would be frames of a stream that two connections have to
//! open, account for and close; here they are what they are. What is longer, or comes piece by piece, is HTTP/2's.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request, response,
    uri::{Authority, PathAndQuery, Scheme},
};

/// The longest message: one chunk of a pipe.
pub(crate) const LONGEST: usize = 32 << 10;
/// The method of the request by which a client fetches an answer as a stream; its path is `/` and the call's number.
pub(crate) const FETCH: &[u8] = b"MICRO-FETCH";
/// What an entry of a head counts for beside its letters: RFC 9113, section 6.5.2.
const ENTRY: usize = 32;

/// The whole of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) data: Option<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Something said about a call, which the client numbers: each of its calls has a higher number than the last.
#[derive(Debug)]
pub(crate) enum Word {
    /// From the client: a request.
    Call { id: u64, request: Request<Whole> },
    /// From the client: nobody waits for the answer any more.
    Cancel { id: u64 },
    /// From the server: the answer.
    Answer { id: u64, response: Response<Whole> },
    /// From the server: the answer is no single message, and is to be fetched.
    Fetch { id: u64 },
    /// From the server: nothing was done about it, since too much else is being done.
    Refused { id: u64 },
    /// From the server: there will be no answer.
    Broken { id: u64 },
    /// From the server: nothing was, or will be, done about calls above this number.
    Last { id: u64 },
}

impl Word {
    pub(crate) fn encode(&self) -> Option<Bytes> {
        Some(match self {
            Self::Call { id, request } => {
                let (parts, whole) = (request.clone().into_parts().0, request.body());
                return encode_call(*id, &parts, whole.data.as_ref());
            }
            Self::Answer { id, response } => {
                let (parts, whole) = (response.clone().into_parts().0, response.body());
                return encode_answer(*id, &parts, whole);
            }
            Self::Cancel { id } => plain(b'x', *id),
            Self::Fetch { id } => plain(b'f', *id),
            Self::Refused { id } => plain(b'r', *id),
            Self::Broken { id } => plain(b'b', *id),
            Self::Last { id } => plain(b'l', *id),
        })
    }

    /// `None` for what is none of these.
    pub(crate) fn decode(mut message: Bytes) -> Option<Self> {
        let (kind, id) = (message.try_get_u8().ok()?, message.try_get_u64().ok()?);
        Some(match kind {
            b'c' => Self::Call { id, request: read_request(&mut message)? },
            b'a' => Self::Answer { id, response: read_response(&mut message)? },
            b'x' => Self::Cancel { id },
            b'f' => Self::Fetch { id },
            b'r' => Self::Refused { id },
            b'b' => Self::Broken { id },
            b'l' => Self::Last { id },
            _ => return None,
        })
    }
}

/// A [`Word::Call`], unless that is too long.
pub(crate) fn encode_call(id: u64, parts: &request::Parts, data: Option<&Bytes>) -> Option<Bytes> {
    let mut message = begin(b'c', id, data.map_or(0, Bytes::len));
    put(&mut message, parts.method.as_str().as_bytes())?;
    put(&mut message, parts.uri.scheme_str().unwrap_or("http").as_bytes())?;
    put(&mut message, parts.uri.authority()?.as_str().as_bytes())?;
    put(&mut message, parts.uri.path_and_query()?.as_str().as_bytes())?;
    put_headers(&mut message, &parts.headers)?;
    put_whole(message, data, None)
}

/// A [`Word::Answer`], unless that is too long.
pub(crate) fn encode_answer(id: u64, parts: &response::Parts, whole: &Whole) -> Option<Bytes> {
    let mut message = begin(b'a', id, whole.data.as_ref().map_or(0, Bytes::len));
    message.put_u16(parts.status.as_u16());
    put_headers(&mut message, &parts.headers)?;
    put_whole(message, whole.data.as_ref(), whole.trailers.as_ref())
}

/// Which call a message is about that says nothing of use.
pub(crate) fn number(message: &Bytes) -> Option<u64> {
    message.get(1..9).map(|mut number| number.get_u64())
}

/// How long HTTP/2 says that a head is.
pub(crate) fn head_length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY).sum()
}

fn plain(kind: u8, id: u64) -> Bytes {
    begin(kind, id, 0).freeze()
}

fn begin(kind: u8, id: u64, data: usize) -> BytesMut {
    let mut message = BytesMut::with_capacity(512 + data.min(LONGEST));
    message.put_u8(kind);
    message.put_u64(id);
    message
}

/// Writes how long something is, and then that.
fn put(message: &mut BytesMut, bytes: &[u8]) -> Option<()> {
    message.put_u16(bytes.len().try_into().ok()?);
    message.put_slice(bytes);
    Some(())
}

fn put_headers(message: &mut BytesMut, headers: &HeaderMap) -> Option<()> {
    message.put_u16(headers.len().try_into().ok()?);
    headers.iter().try_for_each(|(name, value)| {
        put(message, name.as_str().as_bytes())?;
        put(message, value.as_bytes())
    })
}

/// Writes trailers and data, which ends the message.
fn put_whole(mut message: BytesMut, data: Option<&Bytes>, trailers: Option<&HeaderMap>) -> Option<Bytes> {
    message.put_u8(u8::from(trailers.is_some()) << 1 | u8::from(data.is_some()));
    if let Some(trailers) = trailers {
        put_headers(&mut message, trailers)?;
    }
    message.put_slice(data.map_or(&[], |data| data));
    (message.len() <= LONGEST).then(|| message.freeze())
}

fn take(message: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(message.try_get_u16().ok()?);
    (length <= message.len()).then(|| message.split_to(length))
}

fn read_request(message: &mut Bytes) -> Option<Request<Whole>> {
    let method = Method::from_bytes(&take(message)?).ok()?;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::try_from(take(message)?.as_ref()).ok()?);
    uri.authority = Some(Authority::from_maybe_shared(take(message)?).ok()?);
    uri.path_and_query = Some(PathAndQuery::from_maybe_shared(take(message)?).ok()?);
    let uri = Uri::from_parts(uri).ok()?;
    let headers = read_headers(message)?;
    let mut request = Request::new(read_whole(message)?);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    *request.version_mut() = http::Version::HTTP_2;
    Some(request)
}

fn read_response(message: &mut Bytes) -> Option<Response<Whole>> {
    let status = StatusCode::from_u16(message.try_get_u16().ok()?).ok()?;
    let headers = read_headers(message)?;
    let mut response = Response::new(read_whole(message)?);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    *response.version_mut() = http::Version::HTTP_2;
    Some(response)
}

fn read_headers(message: &mut Bytes) -> Option<HeaderMap> {
    let count = usize::from(message.try_get_u16().ok()?);
    // An entry takes four bytes at least.
    let mut headers = HeaderMap::with_capacity(count.min(message.len() / 4).min(64));
    for _ in 0..count {
        let name = HeaderName::from_bytes(&take(message)?).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(take(message)?).ok()?).ok()?;
    }
    Some(headers)
}

fn read_whole(message: &mut Bytes) -> Option<Whole> {
    let what = message.try_get_u8().ok()?;
    let trailers = if what & 2 == 0 { None } else { Some(read_headers(message)?) };
    let data = std::mem::take(message);
    match what & 1 {
        0 if !data.is_empty() => None,
        0 => Some(Whole { data: None, trailers }),
        _ => Some(Whole { data: Some(data), trailers }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(word: &Word) -> Word {
        Word::decode(word.encode().unwrap()).unwrap()
    }

    #[test]
    fn a_call_and_its_answer_read_as_they_were_written() {
        let whole = Whole { data: Some("hello".into()), trailers: None };
        let request = Request::post("http://greeter:80/a.B/C?d=e").header("te", "trailers").header("x", "1");
        let request = request.header("x", "2").body(whole.clone()).unwrap();
        let Word::Call { id: 7, request } = again(&Word::Call { id: 7, request }) else { panic!() };
        assert_eq!((request.method(), request.body()), (&Method::POST, &whole));
        assert_eq!(request.uri(), "http://greeter:80/a.B/C?d=e");
        assert!(request.headers().get_all("x").iter().eq(["1", "2"]));
        assert_eq!(request.headers().len(), 3);

        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        for (data, trailers) in [(None, None), (Some(Bytes::new()), None), (Some("x".into()), Some(trailers))]
        {
            let whole = Whole { data, trailers };
            let response = Response::builder().status(418).header("a", "b").body(whole.clone()).unwrap();
            let Word::Answer { id: 8, response } = again(&Word::Answer { id: 8, response }) else { panic!() };
            assert_eq!((response.status().as_u16(), response.body()), (418, &whole));
            assert_eq!(response.headers()["a"], "b");
        }
    }

    #[test]
    fn what_is_longer_than_a_message_is_none() {
        let request = |length| {
            let whole = Whole { data: Some(vec![0; length].into()), trailers: None };
            Word::Call { id: 1, request: Request::post("http://a/").body(whole).unwrap() }
        };
        assert!(request(LONGEST - 100).encode().is_some());
        assert!(request(LONGEST).encode().is_none());
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let whole = Whole { data: None, trailers: Some(HeaderMap::new()) };
        let request = Request::post("http://a/").header("a", "b").body(Whole::default()).unwrap();
        let response = Response::builder().header("a", "b").body(whole).unwrap();
        for word in [Word::Call { id: 1, request }, Word::Answer { id: 1, response }, Word::Last { id: 1 }] {
            let message = word.encode().unwrap();
            for length in 0..message.len() {
                assert!(Word::decode(message.slice(..length)).is_none(), "{length} of {message:?}");
            }
        }
    }
}
