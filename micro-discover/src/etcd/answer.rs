//! An answer that is read while it comes: most of its records are read by the time that the last one is there.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::task::yield_now;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, StatusCode};
use tonic::{Code, Status};

use super::fields::Field;

/// The most that a message may have: ten thousand endpoints may be said in one.
pub(super) const LARGEST: usize = 64 << 20;
/// A byte that says whether it is compressed, and four that say how long it is, stand before a message.
const PREFIX: usize = 5;
/// After so many bytes others have a turn on the thread.
const PORTION: usize = 256 << 10;

/// A message as it is sent.
pub(super) fn sent(message: &impl prost::Message) -> Request<Body> {
    let mut bytes = vec![0; PREFIX];
    message.encode(&mut bytes).expect("a vector takes everything");
    let length = u32::try_from(bytes.len() - PREFIX).expect("nobody asks for four gigabytes");
    bytes[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Request::new(Body::new(Full::new(Bytes::from(bytes))))
}

/// Hands each field of the one message of `response` to `take`.
pub(super) async fn read(
    response: Response<Body>,
    mut take: impl FnMut(Field<'_>) -> Result<(), Status>,
) -> Result<(), Status> {
    if response.status() != StatusCode::OK {
        return Err(Status::unavailable(format!("it answered HTTP {}", response.status())));
    }
    said(Status::from_header_map(response.headers()))?;
    let mut body = response.into_body();
    let (mut message, mut since) = (Arriving::default(), 0);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                message.more(&data, &mut take)?;
                since += data.len();
            }
            Err(frame) => said(frame.trailers_ref().and_then(Status::from_header_map))?,
        }
        if since >= PORTION {
            since = 0;
            yield_now().await;
        }
    }
    message.end()
}

fn said(status: Option<Status>) -> Result<(), Status> {
    match status {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// A message that is on its way.
#[derive(Default)]
struct Arriving {
    /// What has come and was not read: less than a field.
    unread: Vec<u8>,
    /// How much of it was not read, once that is known.
    left: Option<usize>,
}

impl Arriving {
    /// Takes what comes next, and reads the fields that are whole.
    fn more(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Field<'_>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        self.unread.extend_from_slice(bytes);
        if self.left.is_none() {
            let Some((prefix, _)) = self.unread.split_first_chunk::<PREFIX>() else { return Ok(()) };
            self.left = Some(length(*prefix)?);
            self.unread.drain(..PREFIX);
        }
        let left = self.left.unwrap_or_default();
        if self.unread.len() > left {
            return Err(Status::internal("it answered twice"));
        }
        let mut rest = &self.unread[..];
        while let Some(field) = Field::first(&mut rest)? {
            take(field)?;
        }
        let read = self.unread.len() - rest.len();
        self.left = Some(left - read);
        self.unread.drain(..read);
        Ok(())
    }

    /// Nothing more comes.
    fn end(self) -> Result<(), Status> {
        match self.left {
            Some(0) => Ok(()),
            _ => Err(Status::unavailable("its answer broke off")),
        }
    }
}

/// Reads a message that comes in pieces of `size` bytes.
#[cfg(any(test, fuzzing))]
pub(super) fn in_pieces(
    message: &[u8],
    size: usize,
    mut take: impl FnMut(Field<'_>) -> Result<(), Status>,
) -> Result<(), Status> {
    let mut arriving = Arriving::default();
    let prefix = [&[0][..], &u32::try_from(message.len()).unwrap_or_default().to_be_bytes()].concat();
    for piece in prefix.chunks(size).chain(message.chunks(size)) {
        arriving.more(piece, &mut take)?;
    }
    arriving.end()
}

/// How long the message is that this stands before.
fn length([compressed, length @ ..]: [u8; PREFIX]) -> Result<usize, Status> {
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    match compressed {
        0 if length <= LARGEST => Ok(length),
        0 => Err(Status::out_of_range(format!("its answer is too large: {length} bytes"))),
        _ => Err(Status::internal("its answer is compressed, and nobody asked for that")),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use prost::Message;
    use tonic::codegen::http::HeaderMap;

    use super::super::wire::{KeyValue, RangeResponse};
    use super::*;

    fn message() -> Vec<u8> {
        let kv =
            |n: usize| KeyValue { key: format!("k{n}").into(), mod_revision: 1, value: vec![7; n].into() };
        let mut bytes = vec![0; PREFIX];
        RangeResponse { kvs: (0..200).map(kv).collect() }.encode(&mut bytes).unwrap();
        let length = u32::try_from(bytes.len() - PREFIX).unwrap();
        bytes[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// How many fields there are in these frames, which come one by one, before this status.
    fn fields<'a>(frames: impl Iterator<Item = &'a [u8]>, status: &'static str) -> Result<usize, Status> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        let data: Vec<_> = frames.map(|bytes| Frame::data(Bytes::copy_from_slice(bytes))).collect();
        let frames = data.into_iter().chain([Frame::trailers(trailers)]).map(Ok::<_, Status>);
        let mut count = 0;
        let response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
        let read = read(response, |_| {
            count += 1;
            Ok(())
        });
        read.now_or_never().unwrap().map(|()| count)
    }

    #[test]
    fn an_answer_is_read_whatever_pieces_it_comes_in() {
        let message = message();
        for size in [1, 2, 7, 100, 16 << 10, 1 << 20] {
            assert_eq!(fields(message.chunks(size), "0").unwrap(), 200, "{size}");
        }
        assert_eq!(fields([[0; PREFIX].as_slice()].into_iter(), "0").unwrap(), 0);
    }

    #[test]
    fn what_is_no_whole_answer_says_why() {
        let message = message();
        let why = |bytes: &[u8], status| fields([bytes].into_iter(), status).unwrap_err();
        assert_eq!(why(&message[..message.len() - 1], "0").code(), Code::Unavailable);
        assert_eq!(why(&[], "0").code(), Code::Unavailable);
        assert_eq!(why(&message, "7").code(), Code::PermissionDenied);
        assert_eq!(why(&[], "11").code(), Code::OutOfRange);
        assert_eq!(why(&[0, 4, 0, 0, 1], "0").message(), "its answer is too large: 67108865 bytes");
        assert_eq!(why(&[1, 0, 0, 0, 0], "0").code(), Code::Internal);
        assert_eq!(why(&[0, 0, 0, 0, 1, 8, 1], "0").message(), "it answered twice");
        assert_eq!(why(&[0, 0, 0, 0, 1, 0xb], "0").code(), Code::Internal);
    }
}
