//! Looks at how a connection begins, and serves it if it speaks go-micro's RPC.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, header};
use http_body::Body as HttpBody;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::watch,
    time::timeout,
};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::{
    Message,
    http1::{self, Head, Reader, Side, Start},
    prefixed::Prefixed,
    session::{Session, Sink, Source},
};

/// How long a peer may take to send a message it has begun, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may be without a call.
const IDLE: Duration = Duration::from_secs(300);

/// Serves go-micro's calls on `io`. Gives it back as soon as something else is said on it; `None` when it is over.
///
/// The first head has to come within `patience`.
pub(crate) async fn take<I, S, B>(
    mut io: I,
    service: S,
    patience: Duration,
    closing: watch::Receiver<bool>,
) -> Option<Prefixed<I>>
where
    I: AsyncRead + AsyncWrite + Send + Unpin,
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut buffer = BytesMut::new();
    let mut told = closing.clone();
    let ours = tokio::select! {
        ours = timeout(patience, begins(&mut io, &mut buffer)) => ours.ok()?.ok()?,
        // What has not begun is told by HTTP that it need not.
        _ = told.wait_for(|closing| *closing) => false,
    };
    if !ours {
        return Some(Prefixed::new(buffer.freeze(), io));
    }
    let (read, write) = tokio::io::split(io);
    let mut connection =
        Messages { reader: Reader::new(read, buffer, Side::Client), other: false, last: false };
    let mut answers = Sent { write };
    let served = Session::new(service).run(&mut connection, &mut answers, closing).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of go-micro's was closed");
        return None;
    }
    let other = connection.other;
    let (read, rest) = connection.reader.into_parts();
    let mut io = read.unsplit(answers.write);
    if other {
        return Some(Prefixed::new(rest, io));
    }
    let _ = timeout(PATIENCE, io.shutdown()).await;
    None
}

/// Reads the first head, or as much as tells that it is none of go-micro's, and says whether it is.
async fn begins(io: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<bool> {
    const POST: &[u8] = b"POST / HTTP/1.";
    let mut seen = 0;
    loop {
        let length = buffer.len().min(POST.len());
        if buffer[..length] != POST[..length] || buffer.len() > http1::LONGEST_HEAD {
            return Ok(false);
        }
        let whole = http1::may_end(buffer, seen);
        seen = buffer.len();
        match if whole { http1::head(buffer, Side::Client) } else { Ok(None) } {
            Ok(Some(head)) => return Ok(is_ours(&head)),
            Ok(None) => {}
            // HTTP says why it does not understand.
            Err(_) => return Ok(false),
        }
        if io.read_buf(buffer).await? == 0 {
            return Ok(false);
        }
    }
}

/// Whether a head begins a message of go-micro's: its own headers, or a content type of its older versions.
fn is_ours(head: &Head) -> bool {
    let Start::Request { method, path } = &head.start else { return false };
    let headers = &head.headers;
    if method != "POST" || path != "/" || headers.contains_key(header::EXPECT) {
        return false;
    }
    is_call(&Message { headers: headers.clone(), body: Bytes::new() })
}

/// Whether a `POST /` with these headers is one of go-micro's messages.
pub(crate) fn is_call(message: &Message) -> bool {
    const MARKS: [&str; 6] = ["service", "method", "endpoint", "protocol", "topic", "stream"];
    const TYPES: [&str; 5] = ["json", "json-rpc", "protobuf", "proto-rpc", "octet-stream"];
    let legacy = || message.subtype().is_some_and(|subtype| TYPES.contains(&subtype.as_str()));
    MARKS.iter().any(|name| message.micro(name).is_some())
        || legacy()
        || message.headers.contains_key("timeout")
}

struct Messages<I> {
    reader: Reader<ReadHalf<I>>,
    /// Something else than go-micro's has been said.
    other: bool,
    /// The peer has said that it sends no more.
    last: bool,
}

impl<I: AsyncRead + AsyncWrite + Send + Unpin> Source for Messages<I> {
    async fn next(&mut self, idle: bool) -> io::Result<Option<Message>> {
        let patience = match (self.reader.is_between(), idle) {
            (false, _) => PATIENCE,
            (true, true) => IDLE,
            // A stream may be silent for as long as it lives.
            (true, false) => Duration::MAX,
        };
        match timeout(patience, self.reader.head()).await?? {
            Some(head) if is_ours(head) => {}
            Some(_) => {
                self.other = true;
                return Ok(None);
            }
            None => return Ok(None),
        }
        let next = timeout(PATIENCE, self.reader.next()).await??;
        self.last = next.as_ref().is_some_and(|(head, _)| head.last);
        Ok(next.map(|(_, message)| message))
    }

    fn is_last(&self) -> bool {
        self.last
    }
}

struct Sent<I> {
    write: WriteHalf<I>,
}

impl<I: AsyncWrite + Send + Unpin> Sink for Sent<I> {
    async fn send(&mut self, message: Message) -> io::Result<()> {
        timeout(PATIENCE, self.write.write_all(&http1::response(&message))).await??;
        Ok(())
    }
}
