//! What is read of a peer's bytes, for fuzzers and tests.

use std::{
    future::Future as _,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use micro_discover::Endpoint;
use tokio::{
    io::{AsyncWrite as _, DuplexStream, duplex},
    sync::Semaphore,
};

use super::{
    exchange::{Answer, Exchange},
    incoming::{Home, Place},
    request::{fits, write},
    sending::Sending,
};
use crate::transport::{
    io::{Io, Stream},
    target::{Name, Target},
};

/// The answer that is read where a peer says `said`, so many bytes of it at a time, and then closes: nothing where it is none,
/// and no data behind where it breaks off.
pub(crate) fn probe(said: &[u8], piece: usize) -> Option<(String, Vec<u8>)> {
    let (near, mut far) = duplex(1 << 16);
    let request = Request::get("/").body(Empty::<Bytes>::new()).ok()?;
    let written = write(&request, fits(&request)?, b"");
    let sending = Sending::begin(Box::new(Io::new(Stream::Memory(near))), written).ok()?;
    let (_kept, place) = Kept::place();
    let mut answer = pin!(Answer::to(Exchange::new(sending, request, 8 << 10, place)));
    let (mut cx, mut pieces) = (Context::from_waker(Waker::noop()), said.chunks(piece.max(1)));
    let response = loop {
        match answer.as_mut().poll(&mut cx) {
            Poll::Ready(answer) => break answer.ok()?,
            Poll::Pending => say(&mut far, pieces.next()),
        }
    };
    let (head, mut body) = response.into_parts();
    let (mut head, mut read) = (format!("{head:?}"), Vec::new());
    loop {
        match body.poll_frame(&mut cx) {
            Poll::Pending => say(&mut far, pieces.next()),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => read.extend_from_slice(&data),
                Err(trailers) => head += &format!("{trailers:?}"),
            },
            Poll::Ready(None) => return Some((head, read)),
            Poll::Ready(Some(Err(_))) => return Some((head + " breaks off", Vec::new())),
        }
    }
}

/// Says `piece`, or closes where there is none.
fn say(far: &mut DuplexStream, piece: Option<&[u8]>) {
    let mut cx = Context::from_waker(Waker::noop());
    let _ = match piece {
        Some(piece) => Pin::new(far).poll_write(&mut cx, piece).map_ok(drop),
        None => Pin::new(far).poll_shutdown(&mut cx),
    };
}

/// Counts the connections that might be used again.
pub(super) struct Kept {
    target: Target,
    count: AtomicUsize,
}

impl Kept {
    /// This, and a place for one request.
    pub(super) fn place() -> (Arc<Self>, Place) {
        let address = "127.0.0.1:80".parse().expect("it is an address");
        let target = Target::new(&Endpoint::new("a", address), None, None);
        let kept = Arc::new(Self { target, count: AtomicUsize::new(0) });
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("nobody else asks");
        (kept.clone(), Place { home: kept, _permit: permit })
    }

    #[cfg_attr(fuzzing, allow(dead_code, reason = "for tests"))]
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

impl Home for Kept {
    fn put(&self, _: Box<Io>) {
        self.count.fetch_add(1, Relaxed);
    }

    fn name(&self) -> &Name {
        self.target.name()
    }
}
