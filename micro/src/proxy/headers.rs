//! Headers that belong to one connection, and must not reach the next.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What a client may not make us forget by listing it in `connection`.
const KEPT: [&str; 12] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "origin",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
    "transfer-encoding",
];

/// Whether a header of a request is said to us alone: most requests have none. `te: trailers` asks whoever answers.
pub(super) fn is_to_us(name: &str, value: &HeaderValue) -> bool {
    match name {
        "connection" | "expect" => true,
        "te" => value != "trailers",
        name => is_hop(name),
    }
}

/// Takes out of a request what was said to us alone.
pub(super) fn clean_request(headers: &mut HeaderMap) {
    remove_listed(headers);
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        let wanted = headers.get_all(header::TE).iter().any(wants_trailers);
        headers.remove(header::TE);
        if wanted {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    // The server has said "100 Continue" already, when the body was first asked for.
    headers.remove(header::EXPECT);
    remove_hop(headers);
}

/// Takes out of a response what a service said to us alone.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    remove_listed(headers);
    remove_hop(headers);
}

fn remove_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| is_hop(name.as_str())) {
        return;
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    if headers.remove(header::TRANSFER_ENCODING).is_some() {
        // It held in spite of a length beside it, which may be another: RFC 9112, section 6.3.
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// What [`remove_hop`] takes away.
fn is_hop(name: &str) -> bool {
    matches!(
        name,
        "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn remove_listed(headers: &mut HeaderMap) {
    let mut listed = headers.get_all(header::CONNECTION).iter();
    match (listed.next(), listed.next()) {
        (None, _) => return,
        // What most servers say; the header of that name is taken away with the others.
        (Some(one), None) if one == "keep-alive" => {
            headers.remove(header::CONNECTION);
            return;
        }
        _ => {}
    }
    let header::Entry::Occupied(listed) = headers.entry(header::CONNECTION) else { return };
    let (_, listed) = listed.remove_entry_mult();
    let listed: Vec<_> = listed.collect();
    for value in &listed {
        for name in value.to_str().unwrap_or_default().split(',') {
            let name = name.trim().to_ascii_lowercase();
            if !KEPT.contains(&name.as_str()) && name != "te" {
                headers.remove(name.as_str());
            }
        }
    }
}

fn wants_trailers(te: &HeaderValue) -> bool {
    let text = te.to_str().unwrap_or_default();
    text.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Whether `connection` says of the header `name` that it is for this hop alone, and may.
pub(crate) fn is_listed(headers: &HeaderMap, name: &HeaderName) -> bool {
    !KEPT.contains(&name.as_str()) && lists(headers, &header::CONNECTION, name.as_str())
}

/// Whether one of the values of `name` lists `word`.
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let says = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    headers.get_all(name).iter().any(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_said_to_us_goes_no_further() {
        let mut headers = map(&[
            ("connection", "x-secret, close"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("proxy-authorization", "x"),
            ("x-kept", "3"),
        ]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("te", "trailers"), ("x-kept", "3")]));
    }

    #[test]
    fn a_length_beside_chunks_goes_no_further() {
        let mut headers = map(&[("content-length", "3"), ("transfer-encoding", "chunked"), ("x-kept", "3")]);
        clean_response(&mut headers);
        assert_eq!(headers, map(&[("x-kept", "3")]));
        let mut headers = map(&[("content-length", "3"), ("keep-alive", "5")]);
        clean_response(&mut headers);
        assert_eq!(headers, map(&[("content-length", "3")]));
    }

    #[test]
    fn a_client_cannot_make_us_forget_what_matters() {
        let mut headers =
            map(&[("connection", "authorization, X-Forwarded-For, host"), ("authorization", "a")]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("authorization", "a")]));
    }
}
