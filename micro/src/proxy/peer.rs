//! Who sent a request, and what the next server is told of that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use tonic::transport::server::TcpConnectInfo;

use super::headers::is_to_us;

/// The header that tells one request from all others, on all its ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Through how many proxies a request may have come: where more are named, it goes in a circle.
const MOST_PROXIES: usize = 32;

/// A request id that is longer is replaced.
const LONGEST_ID: usize = 128;

/// Who sent a request, and how it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// Where it came from, if that is known.
    pub address: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether what the peer says of those before it is believed.
    pub trusted: bool,
}

impl Peer {
    /// The peer that the server put into the extensions of a request.
    pub fn of(extensions: &Extensions) -> Self {
        let address = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        Self { address, tls: false, trusted: false }
    }

    /// Who sent a request whose `headers` name the peer already: the peer, or the last whom it names itself and is believed.
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        self.named(headers, usize::from(self.address.is_some()))
    }

    /// The same for `headers` as they came.
    pub(crate) fn sender(&self, headers: &HeaderMap) -> Option<IpAddr> {
        self.named(headers, 0)
    }

    /// The last whom a peer names that is believed, but for so many of us; or else the peer.
    fn named(&self, headers: &HeaderMap, ours: usize) -> Option<IpAddr> {
        let said = headers.get_all(FORWARDED_FOR).into_iter().next_back().filter(|_| self.trusted);
        let mut named =
            said.and_then(|list| list.to_str().ok()).unwrap_or_default().rsplit(',').map(str::trim);
        let last = named.nth(ours).unwrap_or_default();
        let address = last.parse().or_else(|_| last.parse().map(|address: SocketAddr| address.ip()));
        address.ok().or_else(|| self.address.map(|address| address.ip()))
    }

    /// Tells the next server: adds the peer to `x-forwarded-for`, and sets the others unless a trusted peer has. False
    /// where that names more proxies than a request comes through.
    pub(super) fn introduce(&self, headers: &mut HeaderMap, said: &Said) -> bool {
        let mut passed = 0;
        if let Some(address) = self.address {
            match address.ip() {
                IpAddr::V4(address) if !said.client => {
                    headers.insert(FORWARDED_FOR, written(address));
                }
                address => passed = forwarded_for(headers, address),
            }
        }
        if !self.trusted && said.forwarded {
            headers.remove(header::FORWARDED);
        }
        if !(self.trusted && said.proto) {
            let proto = if self.tls { "https" } else { "http" };
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
        }
        if !(self.trusted && said.host) {
            match headers.get(header::HOST).cloned() {
                Some(host) => headers.insert(FORWARDED_HOST, host),
                None => headers.remove(FORWARDED_HOST),
            };
        }
        passed <= MOST_PROXIES
    }
}

/// Which of these headers a request has, and whether it has any that is said to us alone: most have none, which one look at
/// each name tells.
#[derive(Default)]
pub(super) struct Said {
    pub(super) to_us: bool,
    client: bool,
    proto: bool,
    host: bool,
    forwarded: bool,
}

impl Said {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "x-forwarded-for" => said.client = true,
                "x-forwarded-proto" => said.proto = true,
                "x-forwarded-host" => said.host = true,
                "forwarded" => said.forwarded = true,
                name => said.to_us |= is_to_us(name, value),
            }
        }
        said
    }
}

/// Adds `address` behind those that are named already, and counts these.
fn forwarded_for(headers: &mut HeaderMap, address: IpAddr) -> usize {
    let mut list = String::new();
    for value in headers.get_all(FORWARDED_FOR) {
        list.extend([value.to_str().unwrap_or_default(), ", "]);
    }
    let passed = list.matches(',').count();
    list += &address.to_string();
    if let Ok(list) = HeaderValue::try_from(list) {
        headers.insert(FORWARDED_FOR, list);
    }
    passed
}

/// `address` as text, as `to_string` has it: that took a tenth of what the gateway itself does for a request.
fn written(address: Ipv4Addr) -> HeaderValue {
    let (mut text, mut length) = ([0; "255.255.255.255".len()], 0);
    let mut push = |byte| {
        text[length] = byte;
        length += 1;
    };
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    HeaderValue::from_bytes(&text[..length]).expect("digits and dots are a header value")
}

/// The request's id; one that has none, or one that is too long or not text, gets another.
///
/// Being another each time it has no place in the tables of HTTP/2, where it would drive out what is said again and again.
pub fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    let usable = |id: &&mut HeaderValue| (1..=LONGEST_ID).contains(&id.len()) && id.to_str().is_ok();
    if let Some(id) = headers.get_mut(REQUEST_ID).filter(usable) {
        id.set_sensitive(true);
        return id.clone();
    }
    let mut digits = [0; 32];
    for (at, byte) in fastrand::u128(..).to_be_bytes().into_iter().enumerate() {
        digits[2 * at] = HEXADECIMAL[usize::from(byte >> 4)];
        digits[2 * at + 1] = HEXADECIMAL[usize::from(byte & 0xf)];
    }
    // Made twice: the first clone of one would put it where it can be shared, and count that with locked instructions.
    headers.insert(REQUEST_ID, sensitive(&digits));
    sensitive(&digits)
}

fn sensitive(digits: &[u8; 32]) -> HeaderValue {
    let mut id = HeaderValue::from_bytes(digits).expect("hexadecimal digits are a header value");
    id.set_sensitive(true);
    id
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { address: Some("192.0.2.9:1234".parse().unwrap()), tls: false, trusted: false }
    }

    fn introduce(peer: Peer, headers: &mut HeaderMap) {
        let said = Said::of(headers);
        assert!(!said.to_us && peer.introduce(headers, &said));
    }

    #[test]
    fn a_peer_stands_behind_whom_it_names() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("203.0.113.1"));
        headers.append("x-forwarded-for", HeaderValue::from_static("203.0.113.2"));
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.insert("host", HeaderValue::from_static("shop.example"));
        headers.insert("forwarded", HeaderValue::from_static("for=10.0.0.1"));
        introduce(peer(), &mut headers);
        assert_eq!(headers["x-forwarded-for"], "203.0.113.1, 203.0.113.2, 192.0.2.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert!(!headers.contains_key("forwarded"));
    }

    #[test]
    fn a_trusted_peer_is_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        introduce(Peer { trusted: true, ..peer() }, &mut headers);
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.9");
    }

    #[test]
    fn a_client_is_the_peer_or_whom_a_trusted_peer_names_last() {
        let trusted = Peer { trusted: true, ..peer() };
        for (said, client) in [
            ("", "192.0.2.9"),
            ("203.0.113.1, 203.0.113.2", "203.0.113.2"),
            ("203.0.113.1, 2001:db8::1", "2001:db8::1"),
            ("203.0.113.1:80, [2001:db8::2]:443", "2001:db8::2"),
            ("203.0.113.1, unknown", "192.0.2.9"),
        ] {
            let mut headers = HeaderMap::new();
            if !said.is_empty() {
                headers.insert("x-forwarded-for", HeaderValue::from_static(said));
            }
            assert_eq!(trusted.sender(&headers), Some(client.parse().unwrap()), "{said}");
            introduce(trusted, &mut headers);
            assert_eq!(trusted.client(&headers), Some(client.parse().unwrap()), "{said}");
            assert_eq!(peer().client(&headers), Some("192.0.2.9".parse().unwrap()), "{said}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.1"));
        let unix = Peer { address: None, tls: false, trusted: true };
        introduce(unix, &mut headers);
        assert_eq!(unix.client(&headers), Some("203.0.113.1".parse().unwrap()));
        assert_eq!(Peer { trusted: false, ..unix }.client(&headers), None);
    }

    #[test]
    fn addresses_are_written_as_usual() {
        for address in ["0.0.0.0", "127.0.0.1", "9.10.99.100", "255.255.255.255"] {
            assert_eq!(written(address.parse().unwrap()), address);
        }
    }

    #[test]
    fn every_request_has_an_id() {
        let mut headers = HeaderMap::new();
        let id = request_id(&mut headers);
        assert!(id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit), "{id:?}");
        assert_eq!(headers[REQUEST_ID], id);
        headers.insert(REQUEST_ID, HeaderValue::from_static("mine"));
        assert_eq!(request_id(&mut headers), "mine");
        headers.insert(REQUEST_ID, HeaderValue::try_from("x".repeat(200)).unwrap());
        assert_eq!(request_id(&mut headers).len(), 32);
    }
}
