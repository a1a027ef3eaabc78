//! Counts the frames of an HTTP/2 client, and notices one that is nothing but work.
//!
//! h2 bounds resets, CONTINUATION and header sizes itself. PING, SETTINGS, PRIORITY and WINDOW_UPDATE cost an answer or
//! a look each, and nothing bounds them.

use tokio::time::Instant;

/// How many such frames a client may send at once, and how many more each second.
const BURST: f64 = 1000.0;
const EACH_SECOND: f64 = 100.0;
/// What a frame of a request adds: clients measure the way by PINGs while data flows.
const EARNED: f64 = 2.0;
/// For how many bytes of answers a client may say that it has room for more: some do so twice for each frame, whose head
/// alone is as long.
const BYTES_EACH: f64 = 4.0;
/// For how many such words that may be saved up: what was written before the client has read the first of it.
const UPDATES: f64 = 100_000.0;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const HEAD: usize = 9;

/// Reads the heads of frames as they come.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD],
    have: usize,
    payload: usize,
    first: bool,
    /// Between a HEADERS frame and the CONTINUATION that ends it.
    in_headers: bool,
    /// Whether nothing was half said at some moment since this was last asked.
    rested: bool,
    tokens: Tokens,
    /// What is left of it for WINDOW_UPDATE, which answers what was written.
    updates: Tokens,
}

/// How many frames are left of a burst, and of what was earned since.
#[derive(Debug)]
struct Tokens {
    left: f64,
    counted: Instant,
}

impl Frames {
    /// Reads what follows the preface.
    pub(super) fn new() -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            payload: 0,
            first: true,
            in_headers: false,
            rested: false,
            tokens: Tokens::new(),
            updates: Tokens::new(),
        }
    }

    /// Whether a frame, or the head of a request, has begun and not ended.
    pub(super) fn is_amid(&self) -> bool {
        self.have > 0 || self.payload > 0 || self.in_headers
    }

    /// Whether nothing was half said at some moment since this was last asked.
    pub(super) fn take_rested(&mut self) -> bool {
        std::mem::take(&mut self.rested)
    }

    /// Follows `bytes`.
    ///
    /// # Errors
    ///
    /// Why the connection is not worth keeping.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let step = self.payload.min(bytes.len());
            self.payload -= step;
            bytes = &bytes[step..];
            self.rested |= !self.is_amid();
            let step = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            bytes = &bytes[step..];
            if self.have == HEAD {
                self.have = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    /// Notes that so many bytes were written.
    pub(super) fn wrote(&mut self, length: usize) {
        #[allow(clippy::cast_precision_loss, reason = "a write is no longer than memory")]
        self.updates.earn(length as f64 / BYTES_EACH, UPDATES);
    }

    fn frame(&mut self) -> Result<(), &'static str> {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if std::mem::take(&mut self.first) && kind != SETTINGS {
            return Err("the first frame is not SETTINGS");
        }
        match kind {
            HEADERS | CONTINUATION => {
                self.in_headers = flags & END_HEADERS == 0;
                self.tokens.earn(EARNED, BURST);
            }
            DATA if self.payload > 0 => self.tokens.earn(EARNED, BURST),
            WINDOW_UPDATE => return self.updates.spend(),
            _ => return self.tokens.spend(),
        }
        Ok(())
    }
}

impl Tokens {
    fn new() -> Self {
        Self { left: BURST, counted: Instant::now() }
    }

    fn earn(&mut self, tokens: f64, most: f64) {
        self.left = (self.left + tokens).min(most);
    }

    fn spend(&mut self) -> Result<(), &'static str> {
        self.left -= 1.0;
        if self.left < 0.0 {
            let now = Instant::now();
            let seconds = (now - self.counted).as_secs_f64();
            self.counted = now;
            self.left += (seconds * EACH_SECOND).min(BURST);
            if self.left < 0.0 {
                return Err("a flood of frames that carry nothing");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn floods_end_and_pings_between_requests_do_not() {
        let (settings, ping) = (frame(SETTINGS, 0, b"123456"), frame(6, 0, b"12345678"));
        let mut flood = Frames::new();
        flood.follow(&settings).unwrap();
        assert!((0..2000).any(|_| flood.follow(&ping).is_err()));

        let mut fair = Frames::new();
        fair.follow(&settings).unwrap();
        for _ in 0..5000 {
            fair.follow(&ping).unwrap();
            fair.follow(&frame(DATA, 0, b"x")).unwrap();
        }
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            (0..50).for_each(|_| fair.follow(&ping).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn room_for_more_is_said_as_often_as_there_was_more_and_a_burst_beside() {
        let (settings, update) = (frame(SETTINGS, 0, b"123456"), frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]));
        let mut flood = Frames::new();
        flood.follow(&settings).unwrap();
        assert!((0..2000).any(|_| flood.follow(&update).is_err()));

        let mut fair = Frames::new();
        fair.follow(&settings).unwrap();
        for _ in 0..50_000 {
            // The least that is ever written of an answer, of which both windows are told.
            fair.wrote(HEAD + 1);
            (0..2).for_each(|_| fair.follow(&update).unwrap());
        }
    }

    #[tokio::test]
    async fn it_knows_what_is_half_said_wherever_it_is_cut() {
        let bytes =
            [frame(SETTINGS, 0, b""), frame(HEADERS, 0, b"abc"), frame(CONTINUATION, END_HEADERS, b"de")]
                .concat();
        for cut in 1..bytes.len() {
            let mut frames = Frames::new();
            frames.follow(&bytes[..cut]).unwrap();
            assert_eq!(frames.is_amid(), cut != HEAD, "{cut}");
            frames.follow(&bytes[cut..]).unwrap();
            assert!(!frames.is_amid(), "{cut}");
        }
        assert!(Frames::new().follow(&frame(HEADERS, END_HEADERS, b"")).is_err(), "SETTINGS comes first");
    }
}
