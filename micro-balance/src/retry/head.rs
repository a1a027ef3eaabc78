//! All of a request but its body, kept for another attempt.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request::Parts};

use crate::tried::Tried;

#[derive(Debug)]
pub(crate) struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    /// One allocation instead of the several of a map; the map is built again if it is needed.
    headers: Box<[(HeaderName, HeaderValue)]>,
    extensions: Extensions,
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
            extensions: parts.extensions.clone(),
        }
    }

    /// The request again, with the memory of where it has been.
    pub(crate) fn request<B>(&self, body: B, tried: &Tried) -> Request<B> {
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
        request
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}
