//! What a peer, or whoever else may publish at a broker, tells a pipe.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    runtime::{Builder, Runtime},
};

use super::{
    call::{LONGEST, Word},
    packet::Packet,
    stream::{Outlet, Pipe, Sending},
    table::Table,
};

/// Where a pipe finds its clock.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("the system has a clock"));

/// Takes whatever is sent.
struct Nowhere;

impl Outlet for Nowhere {
    fn send(&self, _: Bytes, _: u64) -> Sending {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Messages, each behind a byte that says how long it is, to one pipe that reads after each of them.
pub(crate) fn packets(mut bytes: &[u8]) {
    let _runtime = RUNTIME.enter();
    let table = Arc::<Table>::default();
    let entry = table.insert();
    let (id, mut pipe) = (entry.id, Pipe::new(entry, Box::new(Nowhere)));
    let (mut said, mut heard, mut next) = (Vec::new(), Vec::new(), 0);
    while let Some((&length, rest)) = bytes.split_first() {
        let (message, rest) = rest.split_at(rest.len().min(length.into()));
        bytes = rest;
        let Some(packet) = Packet::decode(Bytes::copy_from_slice(message)) else { continue };
        assert_eq!(Packet::decode(packet.encode()).as_ref(), Some(&packet));
        match &packet {
            Packet::Data { number, chunk } if *number == next => {
                said.extend_from_slice(chunk);
                next += 1;
            }
            Packet::Aside { number, message } => {
                next += u64::from(*number == next);
                word(message.clone());
            }
            _ => {}
        }
        table.deliver(id, packet, None);
        if length % 2 == 0 && !read(&mut pipe, &mut heard) {
            break;
        }
    }
    read(&mut pipe, &mut heard);
    assert!(said.starts_with(&heard), "what is read is what was said, in its order");
}

/// What is said of a call: whatever it is, it says the same once more where it fits.
fn word(message: Bytes) {
    if let Some(word) = Word::decode(message) {
        let Some(again) = word.encode() else { return };
        assert!(again.len() <= LONGEST);
        let word = Word::decode(again.clone()).expect("what was written can be read");
        assert_eq!(word.encode(), Some(again));
    }
}

/// Reads what there is. False once there will be no more.
fn read(pipe: &mut Pipe, into: &mut Vec<u8>) -> bool {
    let mut space = [0; 64];
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *pipe).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => into.extend_from_slice(buffer.filled()),
            Poll::Ready(_) => return false,
            Poll::Pending => return true,
        }
    }
}
