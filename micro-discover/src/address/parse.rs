//! Reads an address, and says what is wrong with one that is none.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::str::FromStr;

use super::{Address, Kind, UNIX};
use crate::invalid::{Invalid, quoted};

/// What fits into `sockaddr_un` with its closing NUL on Linux.
const LONGEST_SOCKET_PATH: usize = 107;
const LONGEST_NAME: usize = 1024;

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(plain) = plain(text) {
            return Ok(plain);
        }
        parse(text).map_err(|error| error.at(format_args!("address {}", safe(text))))
    }
}

/// Reads `10.0.0.1:80`, as most are: there may be many.
fn plain(text: &str) -> Option<Address> {
    let port = text.parse::<SocketAddrV4>().ok()?.port();
    let host = (0, text.rfind(':')?);
    let kind = Kind::Net { tls: false, authority: 0, host: short(host), port };
    (port != 0).then(|| Address { text: text.into(), kind })
}

/// `text` for a message, without what may be a password.
fn safe(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => quoted(&format!("***@{rest}")),
        None => quoted(text),
    }
}

fn parse(text: &str) -> Result<Address, Invalid> {
    let odd = |c: char| c.is_control() || c.is_whitespace();
    // Most addresses have only bytes that need no look into Unicode's tables, and no scheme: there are many to read.
    if !text.bytes().all(|byte| byte.is_ascii_graphic())
        && let Some(bad) = text.chars().find(|c| odd(*c))
    {
        return Err(Invalid::new(format!("it contains the character U+{:04X}", u32::from(bad))));
    }
    if let Some(path) = text.strip_prefix(UNIX) {
        return unix(path);
    }
    let colon = text.bytes().position(|byte| byte == b':').unwrap_or(text.len());
    let (scheme, rest) = text.split_at(colon);
    let Some(rest) = rest.strip_prefix("://") else { return net(text, 0, None) };
    let scheme = scheme.to_ascii_lowercase();
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(word) {
        return Err(Invalid::new("it does not start with a scheme such as http://"));
    }
    let authority = scheme.len() + "://".len();
    match scheme.as_str() {
        "http" => net(&format!("http://{}", bare(rest)), authority, Some(80)),
        "https" => net(&format!("https://{}", bare(rest)), authority, Some(443)),
        "unix" => unix(rest),
        _ => named(&scheme, rest),
    }
}

/// `host:80/` is `host:80`.
fn bare(rest: &str) -> &str {
    rest.strip_suffix('/').unwrap_or(rest)
}

fn unix(path: &str) -> Result<Address, Invalid> {
    // `unix:///run/a.sock` is how a URI writes `unix:/run/a.sock`.
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') {
        return Err(Invalid::new("the path of a unix socket starts with /"));
    }
    // More of them say the same file, and would be read as a URI's.
    let path = &path[path.bytes().take_while(|&byte| byte == b'/').count() - 1..];
    if path.len() > LONGEST_SOCKET_PATH || path.ends_with('/') {
        let most = LONGEST_SOCKET_PATH;
        return Err(Invalid::new(format!("the path of a unix socket names a file in at most {most} bytes")));
    }
    Ok(Address { text: format!("{UNIX}{path}").into(), kind: Kind::Unix })
}

fn named(scheme: &str, name: &str) -> Result<Address, Invalid> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        let length = name.len();
        return Err(Invalid::new(format!(
            "the name behind {scheme}:// has {length} bytes, not 1..={LONGEST_NAME}"
        )));
    }
    if name.contains(['/', '@', '?', '#']) {
        return Err(Invalid::new(format!("the name behind {scheme}:// contains one of / @ ? #")));
    }
    Ok(Address { text: format!("{scheme}://{name}").into(), kind: Kind::Named { scheme: scheme.len() } })
}

/// Reads `host:port` from `start` on; without a scheme (`implied` is none) the port must be there.
fn net(text: &str, start: usize, implied: Option<u16>) -> Result<Address, Invalid> {
    let authority = &text[start..];
    if authority.bytes().any(|byte| matches!(byte, b'/' | b'@' | b'?' | b'#')) {
        return Err(Invalid::new("credentials, paths and queries have no place here"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((ip, tail)) = rest.split_once(']') else {
                return Err(Invalid::new("the bracket around the IPv6 address is not closed"));
            };
            if ip.parse::<Ipv6Addr>().is_err() {
                return Err(Invalid::new(format!("{} is not an IPv6 address", quoted(ip))));
            }
            let port = match tail.strip_prefix(':') {
                None if !tail.is_empty() => return Err(Invalid::new("only :port may follow the bracket")),
                port => port,
            };
            (1..1 + ip.len(), port)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            if port.is_some_and(|port| port.contains(':')) {
                return Err(Invalid::new("an IPv6 address stands in brackets: [::1]:80"));
            }
            check_host(host)?;
            (0..host.len(), port)
        }
    };
    let port = match (port, implied) {
        (Some(port), _) => check_port(port)?,
        (None, Some(port)) => port,
        (None, None) => return Err(Invalid::new("it has no port, and no scheme that implies one")),
    };
    let host = short((start + host.start, start + host.end));
    let authority = u8::try_from(start).expect("https:// has eight bytes");
    Ok(Address { text: text.into(), kind: Kind::Net { tls: implied == Some(443), authority, host, port } })
}

/// Where a host stands, which was checked.
pub(super) fn short((start, end): (usize, usize)) -> (u16, u16) {
    let short = |place| u16::try_from(place).expect("a scheme and a host have a few hundred bytes");
    (short(start), short(end))
}

fn check_port(port: &str) -> Result<u16, Invalid> {
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ if digits => {
            Err(Invalid::new(format!("port {} is not in 1..=65535", quoted(port).trim_matches('"'))))
        }
        _ => Err(Invalid::new(format!("port {} is not a number", quoted(port)))),
    }
}

fn check_host(host: &str) -> Result<(), Invalid> {
    if host.parse::<Ipv4Addr>().is_ok() {
        return Ok(());
    }
    let wrong = |why: &str| Err(Invalid::new(format!("host {} {why}", quoted(host))));
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() || name.len() > 253 {
        return wrong("does not have 1..=253 bytes");
    }
    if name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return wrong("has a label that does not have 1..=63 bytes");
    }
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return wrong(&format!("contains {bad:?}"));
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return wrong("is neither a name nor an IPv4 address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_in_short_is_what_it_is_in_full() {
        for text in ["10.0.0.1:80", "0.0.0.0:65535", "255.255.255.255:080", "1.2.3.4:1"] {
            assert_eq!(plain(text), parse(text).ok(), "{text}");
        }
        for text in
            ["10.0.0.1:0", "10.0.0.1", "01.2.3.4:80", "[::1]:80", "h:1", "1.2.3.4:65536", " 1.2.3.4:1"]
        {
            assert_eq!(plain(text), None, "{text}");
        }
    }
}
