//! Requests as messages: go-micro's `api.Request` and `api.Response`.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use prost::Message;
use serde_json::{Value, json};
use tonic::Status;
use tonic::body::Body;

use crate::proxy::Peer;
use crate::transcode::pairs;

/// `go.api.Request`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ApiRequest {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(map = "string, message", tag = "3")]
    header: HashMap<String, Pair>,
    #[prost(map = "string, message", tag = "4")]
    get: HashMap<String, Pair>,
    #[prost(map = "string, message", tag = "5")]
    post: HashMap<String, Pair>,
    #[prost(string, tag = "6")]
    body: String,
    #[prost(string, tag = "7")]
    url: String,
}

/// `go.api.Response`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ApiResponse {
    #[prost(int32, tag = "1")]
    status_code: i32,
    #[prost(map = "string, message", tag = "2")]
    header: HashMap<String, Pair>,
    #[prost(string, tag = "3")]
    body: String,
}

/// `go.api.Pair`: a name and all its values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, repeated, tag = "2")]
    values: Vec<String>,
}

impl Pair {
    pub(super) fn json(&self) -> Value {
        json!({ "key": self.key, "values": self.values })
    }
}

impl ApiRequest {
    /// The request of `peer` as a message. A form is in `post`, any other body in `body`.
    pub(super) fn new(parts: &Parts, body: &[u8], peer: &Peer) -> Result<Self, Status> {
        let broken = |what| Status::invalid_argument(format!("the {what} cannot be read"));
        let kind =
            parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let form =
            kind.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded");
        let text = std::str::from_utf8(body).map_err(|_| broken("body, which is not UTF-8,"))?;
        let query = pairs(parts.uri.query().unwrap_or_default()).ok_or_else(|| broken("query"))?;
        let post = if form { pairs(text).ok_or_else(|| broken("form"))? } else { Vec::new() };
        let lines = parts.headers.iter().map(|(name, value)| {
            (canonical(name.as_str()), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let host = parts.uri.authority().map(|host| ("Host".to_owned(), host.to_string()));
        let mut header = gather(lines.chain(host.filter(|_| !parts.headers.contains_key(header::HOST))));
        if let Some(address) = peer.address {
            let key = "X-Forwarded-For".to_owned();
            let pair = header.entry(key.clone()).or_insert_with(|| Pair { key, values: Vec::new() });
            pair.values.push(address.ip().to_string());
        }
        Ok(Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            header,
            get: gather(query),
            post: gather(post),
            body: if form { String::new() } else { text.to_owned() },
            url: parts.uri.to_string(),
        })
    }
}

impl ApiResponse {
    /// The answer that it says; 200 and JSON where it does not.
    pub(super) fn into_response(self) -> Response<Body> {
        let status = u16::try_from(self.status_code).ok().and_then(|code| StatusCode::from_u16(code).ok());
        let mut response = Response::new(Body::new(self.body));
        *response.status_mut() = status.filter(|status| status.as_u16() >= 200).unwrap_or(StatusCode::OK);
        let headers = response.headers_mut();
        for pair in self.header.into_values() {
            let Ok(name) = HeaderName::try_from(&pair.key) else { continue };
            // How the body is sent is not the service's to say.
            if matches!(
                name,
                header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::UPGRADE
            ) {
                continue;
            }
            for value in pair.values {
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.append(name.clone(), value);
                }
            }
        }
        headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        response
    }
}

/// All values of each name.
pub(super) fn gather(pairs: impl IntoIterator<Item = (String, String)>) -> HashMap<String, Pair> {
    let mut gathered: HashMap<String, Pair> = HashMap::new();
    for (key, value) in pairs {
        let pair = gathered.entry(key.clone()).or_insert_with(|| Pair { key, values: Vec::new() });
        pair.values.push(value);
    }
    gathered
}

/// `x-request-id` as Go writes it: `X-Request-Id`.
pub(super) fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect::<String>())
            .unwrap_or_default()
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_request_is_all_there_and_the_peer_is_added() {
        let request =
            Request::post("/foo/bar?a=1&a=2").header("x-forwarded-for", "203.0.113.1").header("x-tag", "y");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer { address: Some("192.0.2.1:5".parse().unwrap()), ..Peer::default() };
        let message = ApiRequest::new(&parts, b"{}", &peer).unwrap();
        assert_eq!(
            (message.method.as_str(), message.path.as_str(), message.body.as_str()),
            ("POST", "/foo/bar", "{}")
        );
        assert_eq!(message.get["a"].values, ["1", "2"]);
        assert_eq!(message.header["X-Forwarded-For"].values, ["203.0.113.1", "192.0.2.1"]);
        assert_eq!(message.header["X-Tag"].values, ["y"]);
    }

    #[test]
    fn an_answer_that_says_little_is_json_and_well() {
        let response = ApiResponse { body: "{}".to_owned(), ..ApiResponse::default() }.into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &HeaderValue::from_static("application/json"))
        );
        let pair = Pair { key: "Location".to_owned(), values: vec!["/a".to_owned()] };
        let header = HashMap::from([("Location".to_owned(), pair)]);
        let response = ApiResponse { status_code: 302, header, body: String::new() }.into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["location"]),
            (302, &HeaderValue::from_static("/a"))
        );
    }
}
