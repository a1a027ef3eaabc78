//! All of a request but its body, kept for another attempt.

use std::time::Duration;

use http::{
    Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version, request::Parts, uri::PathAndQuery,
};

use super::kept::Kept;
use crate::{grpc_timeout, tried::Tried};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

#[derive(Debug)]
pub(crate) struct Head {
    method: Method,
    /// Only where it is more than a path, which is among the headers.
    uri: Option<Box<Uri>>,
    version: Version,
    headers: Kept,
    extensions: Extensions,
    grpc: bool,
}

impl Head {
    pub(crate) fn of(parts: &Parts, grpc: bool) -> Self {
        let is_path = parts.uri.authority().is_none() && parts.uri.scheme().is_none();
        let path = parts.uri.path_and_query().filter(|_| is_path).map_or("", PathAndQuery::as_str);
        Self {
            method: parts.method.clone(),
            uri: (!is_path).then(|| Box::new(parts.uri.clone())),
            version: parts.version,
            headers: Kept::new(path, &parts.headers),
            // An empty map that has had something in it would be copied with all its room.
            extensions: if parts.extensions.is_empty() {
                Extensions::new()
            } else {
                parts.extensions.clone()
            },
            grpc,
        }
    }

    /// The request again, with the memory of where it has been, `elapsed` since it began and after so many attempts
    /// that were sent: a gRPC call says how much of its time is left, and how many there were.
    pub(crate) fn request<B>(&self, body: B, tried: &Tried, elapsed: Duration, attempts: u32) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = match &self.uri {
            Some(uri) => Uri::clone(uri),
            None => PathAndQuery::try_from(self.headers.path()).map(Uri::from).unwrap_or_default(),
        };
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions.clone();
        request.extensions_mut().insert(tried.clone());
        let headers = request.headers_mut();
        *headers = self.headers.map();
        if self.grpc {
            if let Some(timeout) = self.timeout() {
                headers.insert(GRPC_TIMEOUT, grpc_timeout::encode(timeout.saturating_sub(elapsed)));
            }
            if attempts > 0 {
                headers.insert(PREVIOUS_ATTEMPTS, attempts.into());
            }
        }
        request
    }

    /// How often the call says that it was sent before, by somebody who sends it again as well.
    pub(crate) fn previous_attempts(&self) -> u32 {
        let previous = if self.grpc { self.headers.get(PREVIOUS_ATTEMPTS.as_str()) } else { None };
        previous.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
    }

    /// The time the caller gives the whole call, read when it is needed, which is seldom.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let value = self.headers.get(GRPC_TIMEOUT.as_str())?;
        grpc_timeout::decode(&HeaderValue::from_bytes(value).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(request: Request<()>) -> Request<()> {
        let (parts, ()) = request.into_parts();
        Head::of(&parts, false).request((), &Tried::default(), Duration::ZERO, 0)
    }

    #[test]
    fn a_request_is_made_again_as_it_was() {
        for uri in ["/a/b?c=d", "*", "/", "http://greeter", "http://greeter/a?b", "greeter:80"] {
            let mut request = Request::put(uri).body(()).unwrap();
            let headers = request.headers_mut();
            headers.append("te", HeaderValue::from_static("trailers"));
            headers.append("x-own", HeaderValue::from_static(""));
            headers.append("x-own", HeaderValue::from_bytes(&[b'x', 0xff]).unwrap());
            let mut secret = HeaderValue::from_static("secret");
            secret.set_sensitive(true);
            headers.append("authorization", secret);
            let (before, headers) = (request.uri().clone(), request.headers().clone());
            let again = again(request);
            assert_eq!((again.method(), again.uri()), (&Method::PUT, &before));
            assert_eq!(again.headers(), &headers);
            assert!(again.headers()["authorization"].is_sensitive() && !again.headers()["te"].is_sensitive());
        }
    }

    #[test]
    fn nobody_reads_its_headers_in_a_log() {
        let parts = Request::new(()).into_parts().0;
        assert!(!format!("{:?}", Head::of(&parts, false)).contains("bytes"));
    }
}
