//! Which answers are made smaller for clients that take gzip.

use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;
use tower_http::compression::{CompressionLayer, Predicate};

/// The shortest answer that is worth it, in bytes: one packet is one packet.
const LEAST: u64 = 1024;

/// Compresses what [`Compressible`] says, by gzip, for clients that accept it. Streams are written out as they come.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower::Layer;
///
/// let registry = micro_discover::open("memory:").unwrap();
/// let gateway = micro::api::Gateway::builder(registry).build();
/// let smaller = micro::api::compression().layer(gateway);
/// # drop(smaller);
/// # }
/// ```
pub fn compression() -> CompressionLayer<Compressible> {
    CompressionLayer::new().gzip(true).compress_when(Compressible(()))
}

/// Text of some length, of a type that gets smaller, that nobody minds being changed: not gRPC, which compresses its own
/// messages, not server-sent events, and nothing with `no-transform` or a tag that stands for its very bytes.
#[derive(Clone, Copy, Debug)]
pub struct Compressible(());

impl Predicate for Compressible {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        let headers = response.headers();
        let kind = text(headers, header::CONTENT_TYPE);
        // Asked of every call, and known by the first letters.
        if kind.starts_with("application/grpc") {
            return false;
        }
        let size = response.body().size_hint();
        let whole = !matches!(response.status(), StatusCode::PARTIAL_CONTENT | StatusCode::NO_CONTENT);
        whole
            && size.exact().is_none_or(|exact| exact >= LEAST)
            && is_text(kind)
            && !text(headers, header::CACHE_CONTROL).to_ascii_lowercase().contains("no-transform")
            && headers.get(header::ETAG).is_none_or(|tag| tag.as_bytes().starts_with(b"W/"))
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_text(kind: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "application/json",
        "application/javascript",
        "application/xml",
        "application/x-ndjson",
        "application/wasm",
        "application/manifest+json",
        "image/svg+xml",
    ];
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.split_once('/') {
        Some(("text", "event-stream")) => false,
        Some(("text", _)) => true,
        Some(("application", own)) if own.starts_with("grpc") => false,
        Some(("application", own)) if own.ends_with("+json") || own.ends_with("+xml") => true,
        _ => OTHERS.contains(&kind.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn is(kind: &str, length: usize, more: Option<(&str, &str)>) -> bool {
        let mut response = Response::builder().header("content-type", kind);
        if let Some((name, value)) = more {
            response = response.header(name, value);
        }
        Compressible(())
            .should_compress(&response.body(Full::new(bytes::Bytes::from(vec![0; length]))).unwrap())
    }

    #[test]
    fn only_long_text_is_compressed_that_may_be_changed() {
        assert!(is("text/html; charset=utf-8", 4096, None));
        assert!(is("application/problem+json", 4096, None));
        assert!(is("Application/JSON", 4096, Some(("etag", "W/\"a\""))));
        assert!(!is("application/json", 100, None));
        for kind in
            ["text/event-stream", "application/grpc", "application/grpc+json", "image/png", "", "video/mp4"]
        {
            assert!(!is(kind, 4096, None), "{kind}");
        }
        assert!(!is("text/plain", 4096, Some(("cache-control", "public, No-Transform"))));
        assert!(!is("text/plain", 4096, Some(("etag", "\"a\""))));
    }
}
