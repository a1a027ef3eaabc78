//! Reads the head of an HTTP/1 request as strictly as RFC 9112 allows.
//!
//! What two servers could read in two ways lets one request hide in another. So there is no second reading here: one
//! length, one host, one space, and lines that end in CR LF.

use super::kinds::{ADDRESS, HOST, TARGET, TOKEN, VALUE, all, find, split};

/// How what follows a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By the number of its bytes, often none.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// What matters of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) framing: Framing,
    /// Whether the answer may turn the connection into something else.
    pub(super) upgrade: bool,
}

/// As many header lines as hyper takes.
const MOST_LINES: usize = 100;

/// Where the head at the start of `bytes` ends, if it is all there; searched from `from` on.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(3);
    let mut at = from;
    while let Some(found) = find(bytes.get(at..)?, b'\n') {
        at += found + 1;
        if bytes[..at].ends_with(b"\r\n\r\n") {
            return Some(at);
        }
    }
    None
}

impl Head {
    /// Reads `head`, which ends in an empty line.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(super) fn read(head: &[u8]) -> Result<Self, &'static str> {
        // A client may have sent an empty line too many after the request before.
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let head = head.strip_suffix(b"\r\n").ok_or("the head has no end")?;
        let mut lines = Lines(head);
        let (method, version) = request_line(lines.next().ok_or("there is no request line")??)?;
        let mut seen = Seen::default();
        for (at, line) in lines.enumerate() {
            if at == MOST_LINES {
                return Err("there are too many header lines");
            }
            seen.line(line?)?;
        }
        seen.head(method, version)
    }
}

/// Lines that end in CR LF, and hold no LF. No part of a line may hold a CR, which is found where parts are looked at.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let line = find(self.0, b'\n').and_then(|end| {
            let (line, rest) = self.0.split_at(end + 1);
            self.0 = rest;
            line.strip_suffix(b"\r\n")
        });
        Some(line.ok_or("a line ends in LF alone"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn request_line(line: &[u8]) -> Result<(&[u8], Version), &'static str> {
    let words = split(line, b' ').and_then(|(method, rest)| Some((method, split(rest, b' ')?)));
    let (method, (target, version)) = words.ok_or("the request line is not three words")?;
    if method.is_empty() || !all(method, TOKEN) {
        return Err("the method is not a token");
    }
    if !is_target(method, target) {
        return Err("the target is none");
    }
    match version {
        b"HTTP/1.1" => Ok((method, Version::Http11)),
        b"HTTP/1.0" => Ok((method, Version::Http10)),
        _ => Err("the version is not HTTP/1.1"),
    }
}

fn is_target(method: &[u8], target: &[u8]) -> bool {
    let clean = all(target, TARGET);
    let form = match (method, target) {
        (b"CONNECT", _) => !target.is_empty() && !target.contains(&b'/'),
        (b"OPTIONS", b"*") => true,
        (_, [b'/', ..]) => true,
        _ => {
            let scheme = |scheme: &[u8]| {
                target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            };
            scheme(b"http://") || scheme(b"https://")
        }
    };
    clean && form
}

/// The headers that decide.
#[derive(Default)]
struct Seen {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Seen {
    fn line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (name, value) = split(line, b':').ok_or("a header line has no colon")?;
        if name.is_empty() || !all(name, TOKEN) {
            return Err("the name of a header is not a token");
        }
        if !all(value, VALUE) {
            return Err("the value of a header has a control character");
        }
        // Of what this takes away, only spaces and tabs can be left.
        let value = value.trim_ascii();
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"host") => {
                self.hosts += 1;
                if self.hosts > 1 || !is_host(value) {
                    return Err("the host is said twice, or is none");
                }
            }
            7 if is(b"upgrade") => self.upgrade = true,
            14 if is(b"content-length") => {
                if self.length.is_some() {
                    return Err("the length is said twice");
                }
                self.length = Some(number(value).ok_or("the length is not a number")?);
            }
            17 if is(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("the transfer encoding is not chunked alone");
                }
                self.chunked = true;
            }
            // Some servers take a line under for a line between.
            14 if is(b"content_length") => return Err("a header looks like content-length"),
            17 if is(b"transfer_encoding") => return Err("a header looks like transfer-encoding"),
            _ => {}
        }
        Ok(())
    }

    fn head(self, method: &[u8], version: Version) -> Result<Head, &'static str> {
        if self.hosts == 0 && version == Version::Http11 {
            return Err("the host is not said");
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => return Err("there are a length and a transfer encoding"),
            (true, None) if version == Version::Http10 => return Err("HTTP/1.0 has no transfer encodings"),
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Head { framing, upgrade: self.upgrade || method == b"CONNECT" })
    }
}

/// Digits, and no more than a number has.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() < 20 && text.iter().all(u8::is_ascii_digit);
    digits
        .then(|| text.iter().fold(0_u64, |number, digit| number.saturating_mul(10) + u64::from(digit - b'0')))
}

/// A name or address, and perhaps a port; nobody's user name, and no path.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            if !all(&rest[..end], ADDRESS) {
                return false;
            }
            (&rest[..end], &rest[end + 1..])
        }
        _ => host.split_at(find(host, b':').unwrap_or(host.len())),
    };
    let port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() < 6 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !name.is_empty() && all(name, HOST) && port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Head, &'static str> {
        Head::read(head.as_bytes())
    }

    fn length(length: u64) -> Head {
        Head { framing: Framing::Length(length), upgrade: false }
    }

    #[test]
    fn ordinary_heads_are_read() {
        let chunked = Head { framing: Framing::Chunked, upgrade: false };
        let upgrade = Head { framing: Framing::Length(0), upgrade: true };
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", length(0)),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", length(0)),
            ("GET / HTTP/1.0\r\n\r\n", length(0)),
            ("OPTIONS * HTTP/1.1\r\nhost:a:80\r\n\r\n", length(0)),
            ("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", length(0)),
            ("POST / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 5 \r\n\r\n", length(5)),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tChunked\r\nX:\r\n\r\n", chunked),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX: \u{e4}\r\n\r\n", upgrade),
            ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", upgrade),
        ] {
            assert_eq!(read(head), Ok(expected), "{head:?}");
        }
    }

    #[test]
    fn whatever_could_be_read_twice_is_refused() {
        let lines = [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length : 5",
            " Content-Length: 5",
            "X: a\r\n Content-Length: 5",
            "X: a\r\n\tb",
            "Content_Length: 5",
            "Transfer_Encoding: chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: \x0bchunked",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding:",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "X: a\nContent-Length: 5",
            "X: a\rContent-Length: 5",
            "X: a\r\r\nY: b",
            "Content-Length: 5\r",
            "X: \x0c",
            "X: a\0b",
            "X\0: a",
            "X: \x7f",
            "X(a): b",
            ": b",
            "X",
            "Host: b",
            "\u{e4}: b",
        ];
        for line in lines {
            assert!(read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")).is_err(), "{line:?}");
        }
        let heads = [
            "GET / HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ];
        for head in heads {
            assert!(read(head).is_err(), "{head:?}");
        }
        let many = "X: a\r\n".repeat(MOST_LINES);
        assert!(read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).is_err());
    }

    #[test]
    fn a_head_ends_wherever_it_is_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 0..head.len() {
            let found = end(&head[..cut], 0).or_else(|| end(head, cut));
            assert_eq!(found, Some(27), "{cut}");
        }
    }
}
