//! Where an endpoint listens: `127.0.0.1:80`, `https://host:443`, `unix:/run/a.sock`, `nats://subject`.

mod parse;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(feature = "kubernetes")]
use self::parse::short;
use crate::invalid::Invalid;

/// Where an endpoint listens. An address that exists is well formed.
///
/// | Text | Scheme | Reaches |
/// |---|---|---|
/// | `127.0.0.1:80`, `[::1]:80`, `host:80` | `http` | HTTP/2 or HTTP/1 over TCP |
/// | `http://host:80`, `https://host:443` | as written | the same, with TLS for `https`; the port may be left out |
/// | `unix:/run/a.sock` | `unix` | HTTP over a unix socket |
/// | `nats://subject`, `rabbitmq://queue`, `memory://name` | as written | a name that transport knows |
///
/// [`Display`](fmt::Display) prints the text back, without a needless trailing slash; two addresses are equal
/// when their texts are. Credentials, paths and queries have no place in an address and are refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: Arc<str>,
    kind: Kind,
}

/// What the text says; ranges are byte ranges of it. In few bytes: there may be many.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Net { tls: bool, authority: u8, host: (u16, u16), port: u16 },
    Unix,
    Named { scheme: usize },
}

const UNIX: &str = "unix:";

impl Address {
    /// `http`, `https`, `unix`, `nats`, `rabbitmq`, `memory` or another transport's name, in lower case.
    pub fn scheme(&self) -> &str {
        match self.kind {
            Kind::Net { tls: false, .. } => "http",
            Kind::Net { tls: true, .. } => "https",
            Kind::Unix => "unix",
            Kind::Named { scheme } => &self.text[..scheme],
        }
    }

    /// The host of an `http` or `https` address; an IPv6 address stands without its brackets.
    pub fn host(&self) -> Option<&str> {
        match self.kind {
            Kind::Net { host: (start, end), .. } => Some(&self.text[start.into()..end.into()]),
            Kind::Unix | Kind::Named { .. } => None,
        }
    }

    /// The port of an `http` or `https` address: as written, or else 80 or 443. Never 0.
    pub fn port(&self) -> Option<u16> {
        match self.kind {
            Kind::Net { port, .. } => Some(port),
            Kind::Unix | Kind::Named { .. } => None,
        }
    }

    /// The absolute path of a unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self.kind {
            Kind::Unix => Some(Path::new(&self.text[UNIX.len()..])),
            Kind::Net { .. } | Kind::Named { .. } => None,
        }
    }

    /// What belongs into a request's `:authority`: `host:port` as written, the name behind `scheme://`, or
    /// `localhost` for a unix socket.
    pub fn authority(&self) -> &str {
        match self.kind {
            Kind::Net { authority, .. } => &self.text[authority.into()..],
            Kind::Unix => "localhost",
            Kind::Named { scheme } => &self.text[scheme + "://".len()..],
        }
    }
}

#[cfg(feature = "kubernetes")]
impl Address {
    /// An IP address and a port, which is not 0.
    pub(crate) fn of(at: SocketAddr) -> Self {
        // There may be many, and formatting takes ten times as long.
        let (mut text, mut end) = ([b'.'; "255.255.255.255:65535".len()], 0);
        let (text, host) = match at {
            SocketAddr::V4(at) => {
                for octet in at.ip().octets() {
                    end = write_number(&mut text, end, octet.into()) + 1;
                }
                let host = end - 1;
                text[host] = b':';
                end = write_number(&mut text, end, at.port());
                (str::from_utf8(&text[..end]).expect("digits and signs are text").into(), (0, host))
            }
            SocketAddr::V6(at) => {
                let text = at.to_string();
                let host = (1, text.rfind(']').expect("std writes brackets"));
                (text.into(), host)
            }
        };
        Self { text, kind: Kind::Net { tls: false, authority: 0, host: short(host), port: at.port() } }
    }
}

/// Writes the digits of `number` from `start` on; gives where they end.
#[cfg(feature = "kubernetes")]
fn write_number(text: &mut [u8], start: usize, number: u16) -> usize {
    let start = if number >= 10 { write_number(text, start, number / 10) } else { start };
    text[start] = b"0123456789"[usize::from(number % 10)];
    start + 1
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = Invalid;

    /// What a listener's `local_addr` is announced as; port 0 and scoped IPv6 addresses are refused.
    fn try_from(address: SocketAddr) -> Result<Self, Invalid> {
        address.to_string().parse()
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_prints_as_it_was_read() {
        let forms = [
            ("127.0.0.1:80", "http", Some("127.0.0.1"), Some(80), "127.0.0.1:80"),
            ("localhost:50051", "http", Some("localhost"), Some(50051), "localhost:50051"),
            ("[::1]:8080", "http", Some("::1"), Some(8080), "[::1]:8080"),
            ("http://a_b.example.:1", "http", Some("a_b.example."), Some(1), "a_b.example.:1"),
            ("http://h", "http", Some("h"), Some(80), "h"),
            ("https://h", "https", Some("h"), Some(443), "h"),
            ("https://h:80", "https", Some("h"), Some(80), "h:80"),
            ("https://[2001:db8::1]", "https", Some("2001:db8::1"), Some(443), "[2001:db8::1]"),
            ("unix:/run/a.sock", "unix", None, None, "localhost"),
            ("nats://_INBOX.Jf3onz", "nats", None, None, "_INBOX.Jf3onz"),
            ("memory://greeter", "memory", None, None, "greeter"),
            ("rabbitmq://queue", "rabbitmq", None, None, "queue"),
        ];
        for (text, scheme, host, port, authority) in forms {
            let address = address(text);
            assert_eq!(address.to_string(), text);
            let parts = (address.scheme(), address.host(), address.port(), address.authority());
            assert_eq!(parts, (scheme, host, port, authority), "{text}");
        }
        assert_eq!(address("unix:/run/a.sock").path(), Some(Path::new("/run/a.sock")));
    }

    #[test]
    fn spellings_of_one_address_print_alike() {
        assert_eq!(address("HTTP://h:80/"), address("http://h:80"));
        assert_eq!(address("unix:///run/a.sock"), address("unix:/run/a.sock"));
        assert_eq!(address("unix:////run/a.sock"), address("unix:/run/a.sock"));
        assert_eq!(Address::try_from(SocketAddr::from(([127, 0, 0, 1], 80))), Ok(address("127.0.0.1:80")));
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        let refusals = [
            ("127.0.0.1:0", "port 0 is not in 1..=65535"),
            ("127.0.0.1:70000", "port 70000 is not in 1..=65535"),
            ("127.0.0.1:99999999999999999999", "is not in 1..=65535"),
            ("h:+80", "port \"+80\" is not a number"),
            ("h:", "port \"\" is not a number"),
            ("h", "it has no port"),
            ("", "1..=253 bytes"),
            (":80", "1..=253 bytes"),
            ("256.0.0.1:80", "neither a name nor an IPv4 address"),
            ("a..b:80", "1..=63 bytes"),
            ("::1:80", "an IPv6 address stands in brackets"),
            ("[::1:80", "not closed"),
            ("[::1]80", "only :port"),
            ("[fe80::1%2]:80", "is not an IPv6 address"),
            ("a b:80", "U+0020"),
            ("a\0b:80", "U+0000"),
            ("http://h:80/path", "no place here"),
            ("h:80?x=1", "no place here"),
            ("://h:80", "does not start with a scheme"),
            ("unix:relative", "starts with /"),
            ("unix:/", "names a file"),
            ("nats://", "has 0 bytes"),
            ("nats://a/b", "one of"),
        ];
        for (text, why) in refusals {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why) && error.starts_with("address \""), "{text}: {error}");
        }
        assert!("x".repeat(10_000).parse::<Address>().unwrap_err().to_string().len() < 300);
        assert!(format!("unix:/{}", "x".repeat(107)).parse::<Address>().is_err());
    }

    #[test]
    fn a_password_is_never_repeated_in_the_refusal() {
        let error = "http://user:hunter2@h:80".parse::<Address>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[cfg(feature = "kubernetes")]
    #[test]
    fn an_ip_address_and_its_port_are_what_their_text_is() {
        for text in ["10.0.0.1:1", "255.99.255.100:65535", "[::1]:80", "[2001:db8::1]:9999"] {
            assert_eq!(Address::of(text.parse().unwrap()), address(text));
        }
    }

    #[test]
    fn json_holds_the_text_and_is_checked_when_read() {
        assert_eq!(serde_json::to_string(&address("h:1")).unwrap(), "\"h:1\"");
        assert_eq!(serde_json::from_str::<Address>("\"h:1\"").unwrap(), address("h:1"));
        assert!(serde_json::from_str::<Address>("\"h:70000\"").unwrap_err().to_string().contains("70000"));
    }
}
