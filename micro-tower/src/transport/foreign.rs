//! A peer that speaks something else, and what that was: an address is easily that of another protocol.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower::BoxError;

/// How much is kept of what a peer says first, and how much of that is shown.
const KEPT: usize = 80;
/// Where a frame of HTTP/2 says of what kind it is, and that of the first one a peer may send.
const KIND: usize = 3;
const SETTINGS: u8 = 4;

/// The first bytes that came from a peer; none where it only closed the connection.
#[derive(Clone, Default)]
pub(super) struct Greeting(Arc<OnceLock<Box<[u8]>>>);

impl Greeting {
    pub(super) fn heard(&self, bytes: &[u8]) {
        let _ = self.0.set(bytes[..bytes.len().min(KEPT)].into());
    }

    /// Why `error` ended the handshake: what the peer said, unless that was HTTP/2.
    pub(super) fn blame(&self, error: h2::Error) -> BoxError {
        match self.0.get() {
            Some(said) if said.get(KIND) != Some(&SETTINGS) => Foreign::Said(said.clone()).into(),
            _ => error.into(),
        }
    }
}

/// A peer that speaks something else than HTTP/2.
#[derive(Debug)]
pub(super) enum Foreign {
    /// It began so.
    Said(Box<[u8]>),
    /// It did not begin.
    Silent,
    /// It speaks HTTP/2, and says that it takes no request.
    Full,
    /// What it began with is not TLS.
    #[cfg(feature = "tls")]
    NoTls,
    /// It took none of the protocols that it was offered over TLS.
    #[cfg(feature = "tls")]
    NoProtocol,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self {
            Self::Said(said) => said,
            Self::Silent => {
                return f.write_str(
                    "this endpoint took the connection and said nothing: has it stopped, or does it not speak HTTP/2?",
                );
            }
            Self::Full => {
                return f.write_str(
                    "this endpoint takes no requests at present: it allows no streams on a connection",
                );
            }
            #[cfg(feature = "tls")]
            Self::NoTls => return f.write_str("this endpoint does not speak TLS: http:// may reach it"),
            #[cfg(feature = "tls")]
            Self::NoProtocol => return f.write_str("this endpoint does not offer HTTP/2 over TLS"),
        };
        f.write_str("this endpoint does not speak HTTP/2 ")?;
        match &**said {
            [] => f.write_str("(it closed the connection without an answer)"),
            [20..=23, 3, ..] => f.write_str("without TLS (it answered with TLS): https:// may reach it"),
            said => match text(said) {
                Some(line) => write!(f, "(it answered with {line:?})"),
                None => write!(f, "(it answered with the bytes {:02x?})", &said[..said.len().min(8)]),
            },
        }
    }
}

impl std::error::Error for Foreign {}

/// Why `error` ended a handshake of TLS.
#[cfg(feature = "tls")]
pub(super) fn blame_tls(error: std::io::Error) -> BoxError {
    use rustls::{AlertDescription::NoApplicationProtocol, Error, InvalidMessage};

    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Foreign::NoTls.into(),
        Some(Error::AlertReceived(NoApplicationProtocol)) => Foreign::NoProtocol.into(),
        _ => error.into(),
    }
}

/// The first line, if it is one.
fn text(said: &[u8]) -> Option<&str> {
    let line = said.split(|&byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty())?;
    let line = std::str::from_utf8(line).ok()?;
    (!line.contains(char::is_control)).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blamed(said: &[u8]) -> String {
        let greeting = Greeting::default();
        greeting.heard(said);
        greeting.blame(h2::Reason::FRAME_SIZE_ERROR.into()).to_string()
    }

    #[test]
    fn what_a_stranger_answers_is_shown_as_far_as_it_can_be_read() {
        let cases: [(&[u8], &str); 6] = [
            (
                b"HTTP/1.1 400 Bad Request\r\nserver: x\r\n\r\n",
                "(it answered with \"HTTP/1.1 400 Bad Request\")",
            ),
            (b"\n<html>", "(it answered with \"<html>\")"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "(it answered with \"SSH-2.0-OpenSSH_9.2\")"),
            (b"\x15\x03\x01\x00\x02\x02\x46", "without TLS (it answered with TLS): https:// may reach it"),
            (b"\x80\x81\x00\xff", "(it answered with the bytes [80, 81, 00, ff])"),
            (b"", "(it closed the connection without an answer)"),
        ];
        for (said, shown) in cases {
            assert_eq!(blamed(said), format!("this endpoint does not speak HTTP/2 {shown}"));
        }
    }

    #[test]
    fn whoever_began_with_settings_is_no_stranger() {
        assert!(!blamed(b"\0\0\0\x04\0\0\0\0\0").contains("does not speak"));
    }
}
