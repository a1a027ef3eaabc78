//! Where in what a client says the next bytes are, and what may be done with them.

use super::{
    chunked::Chunked,
    frames::Frames,
    head::{self, Framing, Head},
};

/// Why a head is refused that does not end.
pub(super) const TOO_LONG: &str = "the head is too long";

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where the next bytes are.
pub(super) enum State {
    /// Before the first byte, or amid what may be a preface.
    Start,
    /// At or in a head, in which no end was found before this place.
    Head(usize),
    /// In a body of which so much is left.
    Length {
        left: u64,
        upgrade: bool,
    },
    Chunks {
        chunks: Chunked,
        upgrade: bool,
    },
    /// Behind a request that may turn the connection into something else, before its answer.
    Answer,
    /// Something else than HTTP/1.
    Tunnel,
    Http2(Box<Frames>),
}

/// What is to be done with bytes.
pub(super) enum Verdict {
    /// So many of them pass.
    Pass(usize),
    /// More are needed first.
    Wait,
    /// So many of them pass, and nothing after that.
    Refuse(usize, &'static str),
}

impl State {
    /// Looks at `bytes`, the next that have come.
    pub(super) fn judge(&mut self, bytes: &[u8], longest_head: usize) -> Verdict {
        match self {
            Self::Start => {
                let common = bytes.len().min(PREFACE.len());
                if bytes[..common] != PREFACE[..common] {
                    *self = Self::Head(0);
                    return self.judge(bytes, longest_head);
                }
                if common < PREFACE.len() {
                    return Verdict::Wait;
                }
                *self = Self::Http2(Box::new(Frames::new()));
                Verdict::Pass(common)
            }
            Self::Head(from) => {
                let Some(end) = head::end(bytes, *from) else {
                    *from = bytes.len();
                    if *from > longest_head {
                        return Verdict::Refuse(0, TOO_LONG);
                    }
                    return Verdict::Wait;
                };
                match Head::read(&bytes[..end]) {
                    Ok(head) => {
                        *self = Self::after(head);
                        Verdict::Pass(end)
                    }
                    Err(why) => Verdict::Refuse(0, why),
                }
            }
            Self::Length { left, upgrade } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::behind(*upgrade);
                }
                Verdict::Pass(length)
            }
            Self::Chunks { chunks, upgrade } => match chunks.follow(bytes) {
                Ok(length) => {
                    if chunks.has_ended() {
                        *self = Self::behind(*upgrade);
                    }
                    Verdict::Pass(length)
                }
                Err(length) => Verdict::Refuse(length, "a chunk is not what it says"),
            },
            Self::Answer => Verdict::Wait,
            Self::Tunnel => Verdict::Pass(bytes.len()),
            Self::Http2(frames) => match frames.follow(bytes) {
                Ok(()) => Verdict::Pass(bytes.len()),
                Err(why) => Verdict::Refuse(0, why),
            },
        }
    }

    /// Whether what passed left nothing half said.
    pub(super) fn take_rested(&mut self) -> bool {
        match self {
            Self::Http2(frames) => frames.take_rested(),
            _ => true,
        }
    }

    fn after(head: Head) -> Self {
        let upgrade = head.upgrade;
        match head.framing {
            Framing::Length(0) => Self::behind(upgrade),
            Framing::Length(left) => Self::Length { left, upgrade },
            Framing::Chunked => Self::Chunks { chunks: Chunked::new(), upgrade },
        }
    }

    fn behind(upgrade: bool) -> Self {
        if upgrade { Self::Answer } else { Self::Head(0) }
    }
}
