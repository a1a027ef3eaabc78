//! A network between names of this process, where a test decides what bytes go through, and when.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, split},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::pipe::memory;

/// What a direction of a connection holds at most, in pieces of at most [`PIECE`] bytes.
const PIECES: usize = 64;
const PIECE: usize = 16 << 10;

/// What becomes of bytes on the way to one node, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// They arrive after this time.
    Clear(Duration),
    /// They stay where they are until the weather changes, as with a process that is stopped.
    Frozen,
    /// They are lost, and every connection that loses some is silent from then on.
    Hole,
}

/// The way to one node: whoever dials `from` reaches whoever listens at `to`.
pub(super) struct Link {
    weather: watch::Sender<Weather>,
    /// Counts how often all connections were reset.
    resets: watch::Sender<u64>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Link {
    pub(super) fn new(delay: Duration) -> Arc<Self> {
        Arc::new(Self {
            weather: watch::Sender::new(Weather::Clear(delay)),
            resets: watch::Sender::new(0),
            accepting: Mutex::default(),
        })
    }

    /// Takes connections at `from` on to `to`, until it goes down.
    pub(super) fn up(&self, from: &str, to: &str) -> io::Result<()> {
        let mut listener = memory::Listener::bind(from)?;
        let (to, weather, resets) = (to.to_owned(), self.weather.subscribe(), self.resets.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok(near) = listener.accept().await {
                let way = Way { weather: weather.clone(), resets: resets.clone() };
                tokio::spawn(way.carry(near, to.clone()));
            }
        });
        self.accepting.lock().unwrap().replace(accepting);
        Ok(())
    }

    /// Refuses connections from now on, and resets those there are.
    pub(super) fn down(&self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
        }
        self.reset();
    }

    pub(super) fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    pub(super) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.down();
    }
}

/// One connection's way.
struct Way {
    weather: watch::Receiver<Weather>,
    resets: watch::Receiver<u64>,
}

impl Way {
    async fn carry(self, near: DuplexStream, to: String) {
        let Self { weather, mut resets } = self;
        resets.mark_unchanged();
        let carried = async {
            passable(&mut weather.clone()).await;
            let Ok(far) = memory::dial(&to) else { return };
            let ((near_in, near_out), (far_in, far_out)) = (split(near), split(far));
            tokio::join!(one_way(near_in, far_out, weather.clone()), one_way(far_in, near_out, weather));
        };
        tokio::select! {
            () = carried => {}
            _ = resets.changed() => {}
        }
    }
}

/// Waits until a connection can be made. In a hole nothing says that it cannot.
async fn passable(weather: &mut watch::Receiver<Weather>) {
    let clear = |weather: &Weather| matches!(weather, Weather::Clear(_));
    if *weather.borrow() == Weather::Hole || weather.wait_for(clear).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Carries bytes one way, in order, each piece when its time has come.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) {
    let mut under_way: VecDeque<(Instant, Bytes)> = VecDeque::new();
    let (mut buffer, mut open) = (BytesMut::with_capacity(PIECE), true);
    while open || !under_way.is_empty() {
        let now = *weather.borrow_and_update();
        let Weather::Clear(delay) = now else {
            if now == Weather::Hole {
                // What is lost is lost: this connection never says another word.
                return std::future::pending().await;
            }
            if weather.changed().await.is_err() {
                return;
            }
            continue;
        };
        buffer.reserve(PIECE);
        let due = under_way.front().map(|(due, _)| *due);
        tokio::select! {
            biased;
            changed = weather.changed() => if changed.is_err() { return },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, piece)) = under_way.pop_front() else { continue };
                if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                    return;
                }
            }
            read = from.read_buf(&mut buffer), if open && under_way.len() < PIECES => match read {
                Ok(1..) => {
                    let last = under_way.back().map_or_else(Instant::now, |(due, _)| *due);
                    under_way.push_back((last.max(Instant::now() + delay), buffer.split().freeze()));
                }
                Ok(0) | Err(_) => open = false,
            },
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown().await;
}
