//! All of a request but its body, kept for another attempt.

use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request::Parts};

use crate::{classify::is_grpc, grpc_timeout, tried::Tried};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

#[derive(Debug)]
pub(crate) struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    /// One allocation instead of the several of a map; the map is built again if it is needed.
    headers: Box<[(HeaderName, HeaderValue)]>,
    extensions: Extensions,
    grpc: bool,
}

impl Head {
    pub(crate) fn of(parts: &Parts) -> Self {
        // Collecting would not know how many there are.
        let mut headers = Vec::with_capacity(parts.headers.len());
        headers.extend(parts.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            headers: headers.into_boxed_slice(),
            // An empty map that has had something in it would be copied with all its room.
            extensions: if parts.extensions.is_empty() {
                Extensions::new()
            } else {
                parts.extensions.clone()
            },
            grpc: is_grpc(&parts.headers),
        }
    }

    /// The request again, with the memory of where it has been, `elapsed` since it began and after so many attempts
    /// that were sent: a gRPC call says how much of its time is left, and how many there were.
    pub(crate) fn request<B>(&self, body: B, tried: &Tried, elapsed: Duration, attempts: u32) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions.clone();
        request.extensions_mut().insert(tried.clone());
        let headers = request.headers_mut();
        *headers = HeaderMap::with_capacity(self.headers.len() + 1);
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
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

    /// The time the caller gives the whole call, read when it is needed, which is seldom.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let (_, timeout) = self.headers.iter().find(|(name, _)| *name == GRPC_TIMEOUT)?;
        grpc_timeout::decode(timeout)
    }
}
