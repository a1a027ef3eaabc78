//! Stands between a client's socket and hyper: passes on what is well said in good time, and cuts the rest.
//!
//! hyper reads HTTP/1 generously and waits for ever. What matters to servers in a row is that both read the same, so heads
//! and chunks are followed here byte by byte ([`head`], [`chunked`]); hyper gets no request that could be read twice, and
//! answers 400 to what it gets instead. Of HTTP/2 only the heads of frames are looked at ([`frames`]).

mod chunked;
mod frames;
mod head;
mod kinds;
mod patience;
mod state;

use std::{
    future::poll_fn,
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::{
    patience::Patience,
    state::{State, TOO_LONG, Verdict},
};
use super::{pace::Pace, settings::Limits};
use crate::one_piece;

/// Less room than this is not worth reading into.
const ROOM: usize = 64;
/// What hyper gets instead of a request that is none: it answers 400.
const NONSENSE: &[u8] = b"\0\r\n\r\n";
/// How many headers hyper reads in one request: to one more it answers 431.
const MOST_HEADERS: usize = 100;

/// A client's byte stream, of which only what is well said comes through.
pub(super) struct Guard<I> {
    io: I,
    state: State,
    /// What may pass, and did not find room.
    ready: Bytes,
    /// What was read, and not looked at or not whole.
    held: BytesMut,
    /// Whether no more is to be read.
    ended: bool,
    patience: Patience,
    /// Whom to tell that the answer to an upgrade has begun.
    waiting: Option<Waker>,
    longest_head: usize,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1, or what is answered as if it were.
    Http1,
    /// HTTP/2.
    Http2,
}

impl<I> Guard<I> {
    pub(super) fn new(io: I, limits: &Limits, pace: Pace) -> Self {
        Self {
            io,
            state: State::Start,
            ready: Bytes::new(),
            held: BytesMut::new(),
            ended: false,
            patience: Patience::new(limits, pace),
            waiting: None,
            longest_head: limits.header_bytes as usize,
        }
    }

    /// Whether a part of something has come of which the rest is due.
    fn is_amid(&self) -> bool {
        match &self.state {
            State::Start => true,
            State::Head(_) => !self.held.is_empty(),
            State::Http2(frames) => frames.is_amid(),
            _ => false,
        }
    }

    fn is_in_body(&self) -> bool {
        matches!(self.state, State::Length { .. } | State::Chunks { .. })
    }

    /// Passes on what may pass of what is held. False where that is nothing.
    fn pass_held(&mut self, into: &mut ReadBuf<'_>) -> bool {
        self.judge_held();
        let length = self.ready.len().min(into.remaining());
        into.put_slice(&self.ready.split_to(length));
        length > 0
    }

    /// Looks at what is held, where nothing is ready.
    fn judge_held(&mut self) {
        if !self.ready.is_empty() || self.held.is_empty() {
            return;
        }
        let bytes = mem::take(&mut self.held).freeze();
        match self.state.judge(&bytes, self.longest_head) {
            Verdict::Pass(length) => {
                self.held = BytesMut::from(&bytes[length..]);
                self.ready = bytes.slice(..length);
                self.rest();
            }
            Verdict::Wait => self.held = bytes.into(),
            Verdict::Refuse(length, why) => self.refuse(bytes.slice(..length), why),
        }
    }

    fn rest(&mut self) {
        if self.state.take_rested() {
            self.patience.rest();
        }
    }

    /// Reads no more. hyper is given what it refuses in its turn, so that no answer under way is lost; of HTTP/2 the end.
    fn refuse(&mut self, first: Bytes, why: &str) {
        tracing::debug!(why, "a client was refused");
        self.ended = true;
        self.held.clear();
        self.ready = match self.state {
            State::Http2(_) => first,
            _ if why == TOO_LONG => too_much().into(),
            _ => [&first, NONSENSE].concat().into(),
        };
    }

    /// Notes how much a client of HTTP/2 was told.
    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if let (State::Http2(frames), Poll::Ready(Ok(length))) = (&mut self.state, written) {
            frames.wrote(*length);
        }
    }

    /// Notes the first bytes of an answer to an upgrade.
    fn answered(&mut self, answer: &[u8]) {
        if !matches!(self.state, State::Answer) {
            return;
        }
        self.state = match answer.get(9..12) {
            Some(b"100") => return,
            Some(b"101" | [b'2', ..]) => State::Tunnel,
            _ => State::Head(0),
        };
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}

/// What hyper gets instead of a head that is too long.
fn too_much() -> Vec<u8> {
    [b"GET / HTTP/1.1\r\n", &*b"a:\r\n".repeat(MOST_HEADERS + 1), NONSENSE].concat()
}

impl<I: AsyncRead + Unpin> AsyncRead for Guard<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        loop {
            if this.pass_held(into) || this.ended {
                return Poll::Ready(Ok(()));
            }
            if matches!(this.state, State::Answer) {
                this.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let straight = this.held.is_empty() && into.remaining() >= ROOM;
            let read = if straight { this.poll_straight(cx, into) } else { this.poll_more(cx) };
            match read {
                Poll::Ready(Ok(0)) => {
                    // Whatever is held is half of something, and its rest will not come.
                    this.held.clear();
                    this.ended = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(length)) => {
                    this.patience.came(length, this.is_in_body());
                    if into.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return this.patience.poll_late(cx, this.is_amid(), this.is_in_body()),
            }
        }
    }
}

impl<I: AsyncRead + Unpin> Guard<I> {
    /// Waits until there is something for hyper to hear, and says what it is; none where the client has ended. Nothing of
    /// it is taken.
    ///
    /// # Errors
    ///
    /// Of the socket, and that the client takes too long.
    pub(super) async fn spoken(&mut self) -> io::Result<Option<Spoken>> {
        poll_fn(|cx| self.poll_spoken(cx)).await
    }

    fn poll_spoken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Spoken>>> {
        loop {
            self.judge_held();
            if !self.ready.is_empty() {
                let is_http2 = matches!(self.state, State::Http2(_));
                return Poll::Ready(Ok(Some(if is_http2 { Spoken::Http2 } else { Spoken::Http1 })));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(length)) => self.ended = length == 0,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.patience.poll_late(cx, self.is_amid(), false).map_ok(|()| None),
            }
        }
    }

    /// Reads into `into` itself, and takes out again what may not pass yet. How much was read.
    fn poll_straight(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, into))?;
        let bytes = &into.filled()[before..];
        let all = bytes.len();
        if all == 0 {
            return Poll::Ready(Ok(0));
        }
        let passed = match self.state.judge(bytes, self.longest_head) {
            Verdict::Pass(length) => {
                self.held.extend_from_slice(&bytes[length..]);
                if self.state.take_rested() {
                    self.patience.rest();
                }
                length
            }
            Verdict::Wait => {
                self.held.extend_from_slice(bytes);
                0
            }
            Verdict::Refuse(length, why) => {
                self.refuse(Bytes::new(), why);
                length
            }
        };
        into.set_filled(before + passed);
        Poll::Ready(Ok(all))
    }

    /// Reads more of what is held in part, or has no room to be read into.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut part = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        self.held.extend_from_slice(part.filled());
        Poll::Ready(Ok(part.filled().len()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guard<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answered(bytes);
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(&written);
        self.patience.poll_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty()) {
            self.answered(first);
        }
        let written = one_piece::poll_write(&mut self.io, cx, slices);
        self.wrote(&written);
        self.patience.poll_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.patience.poll_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.patience.poll_stalled(cx, shut)
    }
}

/// What comes through of `sent` where so many bytes of it come, and are read, at a time.
#[cfg(any(test, fuzzing))]
pub(crate) fn probe(sent: &[u8], piece: usize) -> Vec<u8> {
    struct Pieces<'a>(std::slice::Chunks<'a, u8>);
    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            into.put_slice(self.0.next().unwrap_or_default());
            Poll::Ready(Ok(()))
        }
    }
    // There is always room for a piece: a guard reads no less than this at a time.
    let mut guard = Guard::new(Pieces(sent.chunks(piece.clamp(1, ROOM))), &Limits::default(), Pace::new());
    let (mut passed, mut space) = (Vec::new(), [0; 4096]);
    loop {
        let mut into = ReadBuf::new(&mut space);
        // What follows an upgrade waits for its answer, and so for ever.
        match Pin::new(&mut guard).poll_read(&mut Context::from_waker(Waker::noop()), &mut into) {
            Poll::Ready(Ok(())) if !into.filled().is_empty() => passed.extend_from_slice(into.filled()),
            _ => return passed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Instant, timeout};

    use super::{state::PREFACE, *};

    fn guarded() -> (DuplexStream, Guard<DuplexStream>) {
        let (client, server) = duplex(1 << 20);
        (client, Guard::new(server, &Limits::default(), Pace::new()))
    }

    /// What comes through of `sent`, which is sent in pieces of `piece` bytes and read in pieces of `room`.
    async fn passed(sent: &[u8], piece: usize, room: usize) -> Vec<u8> {
        let (mut client, mut guard) = guarded();
        let mut seen = Vec::new();
        for part in sent.chunks(piece) {
            client.write_all(part).await.unwrap();
            let mut space = vec![0; room];
            while let Ok(Ok(length @ 1..)) = timeout(Duration::from_millis(1), guard.read(&mut space)).await {
                seen.extend_from_slice(&space[..length]);
            }
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_well_said_comes_through_however_it_is_cut() {
        let sent = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: a\r\n\r\n\
            POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nT: u\r\n\r\nGET /d HTTP/1.0\r\n\r\n";
        for piece in [1, 2, 7, 50, sent.len()] {
            for room in [1, 24, 100, 1000] {
                let seen = passed(sent, piece, room).await;
                assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(sent), "{piece} {room}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_comes_through_behind_what_is_not() {
        let good = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        let bad = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        for piece in [1, 30, 1000] {
            let seen = passed(format!("{good}{bad}{good}").as_bytes(), piece, 500).await;
            assert_eq!(seen, [good.as_bytes(), NONSENSE].concat());
        }
        let head = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let seen = passed(format!("{head}1\r\nx\r\n1\ny\r\n0\r\n\r\n{good}").as_bytes(), 10, 500).await;
        assert_eq!(seen, [head.as_bytes(), b"1\r\nx\r\n1", NONSENSE].concat());
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000));
        assert_eq!(passed(long.as_bytes(), 1000, 500).await, too_much());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upgrade_is_a_tunnel_once_the_answer_says_so() {
        let asks = b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
        for (answer, passes) in
            [("HTTP/1.1 101 Switching Protocols\r\n\r\n", true), ("HTTP/1.1 400 No\r\n\r\n", false)]
        {
            let (mut client, mut guard) = guarded();
            client.write_all(&[&asks[..], b"\x81\x00"].concat()).await.unwrap();
            let mut space = [0; 500];
            assert_eq!(guard.read(&mut space).await.unwrap(), asks.len());
            timeout(Duration::from_secs(1), guard.read(&mut space)).await.unwrap_err();
            guard.write_all(answer.as_bytes()).await.unwrap();
            let more = timeout(Duration::from_secs(1), guard.read(&mut space)).await;
            assert_eq!(more.is_ok_and(|more| more.unwrap() == 2), passes, "{answer}");
        }
    }

    /// How long `guard` waits before it gives up on the client.
    async fn waits(guard: &mut Guard<DuplexStream>) -> Duration {
        let began = Instant::now();
        let mut space = [0; 500];
        loop {
            match timeout(Duration::from_secs(1000), guard.read(&mut space)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0)) => panic!("the client has not closed"),
                Ok(Err(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
                Err(_) => return Duration::MAX,
            }
            if began.elapsed() > Duration::ZERO {
                return began.elapsed();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_is_cut_and_who_rests_is_not() {
        let seconds = |time: Duration| time.as_secs_f64().round();
        let (_silent, mut guard) = guarded();
        assert_eq!(seconds(waits(&mut guard).await), 10.0);

        let (mut client, mut guard) = guarded();
        client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        assert_eq!(seconds(waits(&mut guard).await), 10.0);

        let (mut client, mut guard) = guarded();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        assert_eq!(seconds(waits(&mut guard).await), 10.0);

        let (mut client, mut guard) = guarded();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(waits(&mut guard).await, Duration::MAX, "its next request may take its time");
    }

    #[tokio::test(start_paused = true)]
    async fn who_dribbles_is_cut() {
        for head in ["GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"] {
            let (mut client, mut guard) = guarded();
            client.write_all(head.as_bytes()).await.unwrap();
            let dribble = tokio::spawn(async move {
                while client.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
            let began = Instant::now();
            let mut space = [0; 500];
            while guard.read(&mut space).await.is_ok() {}
            assert!((9..15).contains(&began.elapsed().as_secs()), "{head}: {:?}", began.elapsed());
            dribble.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spoken_is_known_once_the_first_head_is_whole_and_all_of_it_still_comes() {
        let (mut client, mut guard) = guarded();
        let asks = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(&asks[..9]).await.unwrap();
        timeout(Duration::from_secs(1), guard.spoken()).await.unwrap_err();
        client.write_all(&[&asks[9..], asks].concat()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(guard.spoken().await.unwrap(), Some(Spoken::Http1));
        }
        let mut space = [0; 500];
        for _ in 0..2 {
            assert_eq!(guard.read(&mut space).await.unwrap(), asks.len());
            assert_eq!(&space[..asks.len()], asks);
        }

        let (mut client, mut guard) = guarded();
        client.write_all(b"no request at all\r\n\r\n").await.unwrap();
        assert_eq!(guard.spoken().await.unwrap(), Some(Spoken::Http1), "it is answered that it is none");

        let (mut client, mut guard) = guarded();
        client.write_all(PREFACE).await.unwrap();
        assert_eq!(guard.spoken().await.unwrap(), Some(Spoken::Http2));
        assert_eq!(guard.read(&mut space).await.unwrap(), PREFACE.len());

        let (client, mut guard) = guarded();
        drop(client);
        assert_eq!(guard.spoken().await.unwrap(), None);
        let (_silent, mut guard) = guarded();
        assert_eq!(guard.spoken().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut() {
        let (_client, mut guard) = guarded();
        let error = guard.write_all(&vec![0; 2 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
