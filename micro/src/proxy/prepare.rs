//! Makes a request of a client one of ours, before it is passed on.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts};
use micro_balance::classify::is_grpc;

use super::fault::Fault;
use super::headers::clean_request;
use super::peer::{Peer, Said};

/// Makes a request of a client one of ours.
pub(super) fn prepare(parts: &mut Parts, peer: &Peer, id: &'static str) -> Result<(), Fault> {
    let refuse = |status, detail| Err(Fault::new(id, status, detail));
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "this method is not passed on");
    }
    if !settle_host(parts) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the request does not say which host it is for, or says it twice",
        );
    }
    if parts.version == Version::HTTP_2 && !is_grpc(&parts.headers) && !is_clean(&parts.headers) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the request has headers that others could read in another way",
        );
    }
    let said = Said::of(&parts.headers);
    // Before they are taken away, the connection's headers may not be forged into those that are added.
    if said.to_us {
        clean_request(&mut parts.headers);
    }
    if !peer.introduce(&mut parts.headers, &said) {
        return refuse(
            StatusCode::LOOP_DETECTED,
            "the request has come through too many proxies: does it go in a circle?",
        );
    }
    // Over HTTP/1 most say no more than that.
    if parts.uri.authority().is_some() || parts.uri.scheme().is_some() {
        let path = std::mem::take(&mut parts.uri).into_parts().path_and_query;
        parts.uri = path.map_or_else(Uri::default, Uri::from);
    }
    parts.extensions.clear();
    Ok(())
}

/// Whether HTTP/1 would have let headers of HTTP/2 pass: those of one length, without blanks around them (RFC 9113,
/// section 8.2.1), and none that programs behind CGI take for another.
fn is_clean(headers: &HeaderMap) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut lengths = 0;
    headers.iter().all(|(name, value)| {
        lengths += usize::from(name == header::CONTENT_LENGTH);
        let value = value.as_bytes();
        let alike = matches!(name.as_str(), "content_length" | "transfer_encoding");
        lengths < 2 && !alike && !blank(value.first()) && !blank(value.last())
    })
}

/// Leaves one `host`, whether the client said it in the target or in a header. False where it did not, or says two.
fn settle_host(parts: &mut Parts) -> bool {
    let mut said = parts.headers.get_all(header::HOST).iter();
    match (parts.uri.authority(), said.next(), said.next()) {
        (_, _, Some(_)) => false,
        (Some(authority), Some(host), None) => {
            host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
        }
        (Some(authority), None, None) => {
            let Ok(host) = HeaderValue::from_str(authority.as_str()) else { return false };
            let clean = !authority.as_str().contains('@');
            parts.headers.insert(header::HOST, host);
            clean
        }
        (None, Some(host), None) => !host.is_empty() || parts.version < Version::HTTP_11,
        (None, None, None) => parts.version < Version::HTTP_11,
    }
}
