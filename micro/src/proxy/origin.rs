//! Which pages may open a WebSocket: those of the same host, and those that are named.

use http::{HeaderMap, Uri, header};

/// Pages from other hosts that may open WebSockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Those of `origins`, such as `https://shop.example`, beside the pages of the host itself.
    pub fn new(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(origins.into_iter().map(Into::into).collect())
    }

    /// Whether the page that sent `headers` may open a WebSocket, or use what is for this machine alone. A program that is no browser says no origin.
    ///
    /// Whoever came over TLS, as `x-forwarded-proto` has it, has a page that did as well: one that came without may be anybody's.
    pub(crate) fn may_connect(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return true };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
        if self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        if secure && origin.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://")) {
            return false;
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| same_host(origin, host))
    }
}

/// Whether `origin` is a page of `host`. The scheme may be https where that of the request is not: TLS may end before us.
fn same_host(origin: &str, host: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    // An origin is scheme, host and port, and nothing else.
    let whole = origin.len() == scheme.len() + "://".len() + authority.as_str().len();
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    whole && !authority.as_str().contains('@') && bare(authority.as_str()) == bare(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pages_of_other_hosts_are_turned_away() {
        let origins = Origins::new(["https://friend.example"]);
        let cases = [
            (None, true),
            (Some("http://shop.example:8080"), true),
            (Some("https://shop.example:8080"), true),
            (Some("http://SHOP.example:8080"), true),
            (Some("https://friend.example"), true),
            (Some("http://friend.example"), false),
            (Some("https://friend.example.evil.example"), false),
            (Some("http://shop.example"), false),
            (Some("http://shop.example:8081"), false),
            (Some("http://shop.example:8080.evil.example"), false),
            (Some("http://evil.example"), false),
            (Some("http://shop.example:8080@evil.example"), false),
            (Some("http://shop.example:8080/path"), false),
            (Some("ftp://shop.example:8080"), false),
            (Some("shop.example:8080"), false),
            (Some("null"), false),
            (Some(""), false),
        ];
        for (origin, may) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("shop.example:8080"));
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            assert_eq!(origins.may_connect(&headers), may, "{origin:?}");
        }
    }

    #[test]
    fn a_default_port_may_be_left_out_and_two_origins_are_none() {
        assert!(same_host("https://a.example", "a.example:443"));
        assert!(same_host("http://a.example:80", "a.example"));
        assert!(!same_host("http://a.example", "a.example:443"));
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("a"));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://a"));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!Origins::default().may_connect(&headers));
    }
}
