//! Where one endpoint is, and what its requests say about it.

use std::{path::Path, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Request, Uri, Version,
    header::{self, HeaderName},
    uri::{Authority, PathAndQuery, Scheme},
};
use micro_discover::{Address, Endpoint};

use crate::{error::Error, pipe::BROKER};

/// Whom errors are about.
#[derive(Clone, Debug)]
pub(super) struct Name {
    service: Option<Arc<str>>,
    address: Arc<str>,
}

impl Name {
    /// Says in `error` whom it is about.
    pub(super) fn blame(&self, error: Error) -> Error {
        let error = error.endpoint(self.address.clone());
        match &self.service {
            Some(service) => error.service(service.clone()),
            None => error,
        }
    }
}

/// An address with everything a request needs of it, worked out once.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: Address,
    broker: Option<Arc<str>>,
    name: Name,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl Target {
    /// `authority` replaces the address's own where given.
    pub(super) fn new(endpoint: &Endpoint, authority: Option<Authority>, service: Option<Arc<str>>) -> Self {
        let address = &endpoint.address;
        let authority = authority.or_else(|| address.authority().parse().ok());
        let authority = authority.unwrap_or_else(|| Authority::from_static("localhost"));
        let host = HeaderValue::from_str(authority.as_str());
        Self {
            address: address.clone(),
            broker: endpoint.metadata.get(BROKER).map(|url| url.as_str().into()),
            name: Name { service, address: address.to_string().into() },
            scheme: if address.scheme() == "https" { Scheme::HTTPS } else { Scheme::HTTP },
            host: host.unwrap_or_else(|_| HeaderValue::from_static("localhost")),
            authority,
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// What requests say they are for.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Which broker the endpoint says that it is called at.
    #[cfg_attr(
        not(any(feature = "nats", feature = "rabbitmq")),
        allow(dead_code, reason = "brokers come by feature")
    )]
    pub(super) fn broker(&self) -> Option<&str> {
        self.broker.as_deref()
    }

    pub(super) fn scheme(&self) -> &str {
        self.address.scheme()
    }

    pub(super) fn socket(&self) -> Option<&Path> {
        self.address.path()
    }

    /// The URI that a TCP connector dials.
    pub(super) fn uri(&self) -> Option<Uri> {
        let (host, port) = (self.host()?, self.address.port()?);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Uri::builder().scheme("http").authority(format!("{host}:{port}")).path_and_query("/").build().ok()
    }

    pub(super) fn host(&self) -> Option<&str> {
        self.address.host()
    }

    /// `uri` as HTTP/2 wants it: with scheme and authority, its path untouched. Does not allocate.
    pub(super) fn absolute(&self, uri: Uri, authority: Option<Authority>) -> Uri {
        let mut parts = uri.into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(authority.unwrap_or_else(|| self.authority.clone()));
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(PathAndQuery::from_static("/"));
        }
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Makes `request` one of HTTP/1: of path and query only, and with the `host` that is demanded there, unless the caller
    /// chose one.
    pub(super) fn direct<B>(&self, request: &mut Request<B>) {
        *request.version_mut() = Version::HTTP_11;
        let uri = request.uri();
        // Most are relative already.
        if uri.authority().is_some() || uri.scheme().is_some() || uri.path_and_query().is_none() {
            *request.uri_mut() = relative(std::mem::take(request.uri_mut()));
        }
        let headers = request.headers_mut();
        // Not by its entry, which makes room for one that is there.
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, self.host.clone());
        }
    }
}

fn relative(uri: Uri) -> Uri {
    Uri::from(uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// Removes what describes the caller's own connection, which HTTP/2 forbids, and gives back its `host`.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) -> Option<Authority> {
    // Most have a host, or nothing at all, which one look at each name tells.
    let (mut host, mut others) = (false, false);
    for (name, value) in headers.iter() {
        match name.as_str() {
            "host" => host = true,
            "te" => others |= value != "trailers",
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                others = true;
            }
            _ => {}
        }
    }
    if others {
        remove_others(headers);
    }
    let host = if host { headers.remove(header::HOST)? } else { return None };
    Authority::from_maybe_shared(host).ok()
}

fn remove_others(headers: &mut HeaderMap) {
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
    if let Some(listed) = headers.remove(header::CONNECTION) {
        for name in listed.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in [header::TRANSFER_ENCODING, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION] {
        headers.remove(name);
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str) -> Target {
        Target::new(&Endpoint::new("a", address.parse().unwrap()), None, None)
    }

    #[test]
    fn a_request_keeps_its_path_and_gets_the_endpoints_authority() {
        let uri = target("127.0.0.1:80").absolute(Uri::from_static("/a/b?c=d"), None);
        assert_eq!(uri, "http://127.0.0.1:80/a/b?c=d");
        let uri = target("http://h:81").absolute(Uri::from_static("https://greeter/x"), None);
        assert_eq!(uri, "http://h:81/x");
        assert_eq!(target("unix:/a.sock").absolute(Uri::from_static("/"), None), "http://localhost/");
        assert_eq!(relative(Uri::from_static("http://greeter/x?y")), "/x?y");
    }

    #[test]
    fn an_ipv6_address_is_dialled_in_brackets() {
        assert_eq!(target("[::1]:80").uri().unwrap(), "http://[::1]:80/");
    }

    #[test]
    fn what_belongs_to_the_callers_connection_goes_no_further() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-secret, close"),
            ("x-secret", "1"),
            ("keep-alive", "5"),
            ("host", "greeter"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(remove_hop_by_hop(&mut headers).unwrap(), "greeter");
        assert_eq!(headers.len(), 2, "{headers:?}");
    }
}
