//! How long a client may take over what it has begun.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::server::{pace::Pace, settings::Limits};

/// Waits with a client: for the rest of what it has begun to say, and for it to take what is said to it.
pub(super) struct Patience {
    whole: Duration,
    rate: u64,
    stall: Duration,
    /// Since when a part has been there.
    amid: Option<Instant>,
    body: Body,
    reading: Alarm,
    /// Since when nothing could be written.
    stalled: Option<Instant>,
    writing: Alarm,
    pace: Pace,
}

/// How much of a body has come, and how long it was waited for.
#[derive(Default)]
struct Body {
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl Patience {
    pub(super) fn new(limits: &Limits, pace: Pace) -> Self {
        Self {
            whole: limits.header_timeout,
            rate: limits.body_rate.max(1),
            stall: limits.stall_timeout,
            amid: None,
            body: Body::default(),
            reading: Alarm::default(),
            stalled: None,
            writing: Alarm::default(),
            pace,
        }
    }

    /// `length` bytes came, of a body or not.
    pub(super) fn came(&mut self, length: usize, in_body: bool) {
        if !in_body {
            self.body = Body::default();
            return;
        }
        self.body.bytes += length as u64;
        if let Some(since) = self.body.since.take() {
            self.body.waited += since.elapsed();
        }
    }

    /// What was begun is whole.
    pub(super) fn rest(&mut self) {
        self.amid = None;
    }

    /// Nothing has come: an error once that has lasted too long for where the client is.
    pub(super) fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        amid: bool,
        in_body: bool,
    ) -> Poll<io::Result<()>> {
        let deadline = if amid {
            *self.amid.get_or_insert_with(Instant::now) + self.whole
        } else if in_body {
            // A body may be waited for as long as a head, and a second more for each so many bytes of it.
            let since = *self.body.since.get_or_insert_with(Instant::now);
            let allowed = self.whole + Duration::from_secs(self.body.bytes / self.rate);
            since + allowed.saturating_sub(self.body.waited)
        } else {
            self.amid = None;
            return Poll::Pending;
        };
        ready!(self.reading.poll(cx, deadline));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client took too long")))
    }

    /// Passes on the result of writing: an error once there has been none for too long.
    pub(super) fn poll_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = *self.stalled.get_or_insert_with(Instant::now) + self.stall;
        ready!(self.writing.poll(cx, deadline));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, self.pace.takes_nothing())))
    }
}

/// A timer that is set again only when it has gone off.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
