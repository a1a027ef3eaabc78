//! Which pages of other hosts may read answers: none, unless they are named.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tonic::body::Body;

/// Pages of other hosts that may send requests and read the answers.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    any: bool,
    credentials: bool,
}

/// A setting that would open a gateway to every page on behalf of its visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCors {
    /// An origin is not a header value.
    #[error("an origin is a scheme, a host and perhaps a port, as https://shop.example")]
    Origin,
    /// Any origin, with credentials.
    #[error("credentials cannot be allowed to every origin: name those that may send them")]
    CredentialsForAll,
}

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin, x-request-id");
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

impl Cors {
    /// Lets the pages of `origins` in; `*` is all of them. With `credentials` browsers send cookies too.
    ///
    /// # Errors
    ///
    /// [`InvalidCors`].
    pub fn new<'a>(
        origins: impl IntoIterator<Item = &'a str>,
        credentials: bool,
    ) -> Result<Self, InvalidCors> {
        let mut cors = Self { credentials, ..Self::default() };
        for origin in origins {
            match origin.trim() {
                "*" => cors.any = true,
                origin if origin.contains("://") && !origin.ends_with('/') => {
                    cors.origins.push(HeaderValue::from_str(origin).map_err(|_| InvalidCors::Origin)?);
                }
                _ => return Err(InvalidCors::Origin),
            }
        }
        if cors.any && credentials { Err(InvalidCors::CredentialsForAll) } else { Ok(cors) }
    }

    /// The origins that are named, without `*`.
    pub(super) fn origins(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().filter_map(|origin| origin.to_str().ok())
    }

    /// What `access-control-allow-origin` says to the page that sent `headers`; none where it may not read.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.origins.contains(origin) {
            return Some(origin.clone());
        }
        self.any.then(|| HeaderValue::from_static("*"))
    }

    /// Answers a browser that asks whether a page may send a request. Where the page is not let in the service may
    /// still do so itself.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let origin = self.allowed(headers)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        self.admit(answer, Some(origin));
        Some(response)
    }

    /// Whether any page is let in.
    pub(crate) fn lets_in(&self) -> bool {
        self.any || !self.origins.is_empty()
    }

    /// Lets the page `origin` read an answer with `headers`, if there is such a page. A cache must give that answer to no
    /// other page, nor to this one what others were told.
    pub(crate) fn admit(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        let varies = headers.get_all(header::VARY).iter().any(|varying| varying == "origin");
        if !self.origins.is_empty() && !varies {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else {
            headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preflight(cors: &Cors, origin: &'static str) -> Option<HeaderMap> {
        let request =
            Request::options("/a").header("origin", origin).header("access-control-request-method", "PATCH");
        cors.preflight(&request.body(()).unwrap()).map(|response| response.headers().clone())
    }

    #[test]
    fn nobody_is_let_in_unless_named() {
        assert!(preflight(&Cors::default(), "https://a.example").is_none());
        let cors = Cors::new(["https://a.example"], true).unwrap();
        let headers = preflight(&cors, "https://a.example").unwrap();
        assert_eq!(headers["access-control-allow-origin"], "https://a.example");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
        for other in ["https://b.example", "http://a.example", "https://a.example.b", "null"] {
            assert!(preflight(&cors, other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_cache_is_told_once_that_pages_are_answered_differently() {
        let varies = |cors: &Cors, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for _ in 0..2 {
                cors.admit(&mut headers, origin.map(HeaderValue::from_static));
            }
            headers.get_all("vary").iter().count()
        };
        let cors = Cors::new(["https://a.example"], false).unwrap();
        assert_eq!((varies(&cors, Some("https://a.example")), varies(&cors, None)), (1, 1));
        assert_eq!(varies(&Cors::new(["*"], false).unwrap(), Some("*")), 0);
    }

    #[test]
    fn everybody_is_let_in_without_credentials_only() {
        assert_eq!(Cors::new(["*"], true).unwrap_err(), InvalidCors::CredentialsForAll);
        let headers = preflight(&Cors::new(["*"], false).unwrap(), "https://a.example").unwrap();
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        assert_eq!(Cors::new(["a.example"], false).unwrap_err(), InvalidCors::Origin);
    }
}
