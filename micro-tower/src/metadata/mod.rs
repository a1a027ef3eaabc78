//! Headers that travel with a request from server to server: a request id, and what a list names.
//!
//! [`ServerMetadataLayer`] takes them from an incoming request; [`MetadataLayer`] puts them on the calls made
//! while it is handled. Nothing else goes further: not `authorization`, not a cookie, unless listed.

mod client;
mod server;
mod trailers;

use std::{future::Future, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use self::trailers::TrailersBody;
pub use self::{
    client::{ClientMetadata, MetadataLayer},
    server::{MetadataBody, ServerMetadata, ServerMetadataFuture, ServerMetadataLayer},
    trailers::Trailers,
};

/// The header that tells one request from all others, on all its ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: Metadata;
}

/// The headers that travel with the request this task works for.
#[derive(Clone, Debug, Default)]
pub struct Metadata(Arc<[(HeaderName, HeaderValue)]>);

impl Metadata {
    /// What this task carries: from the request that a server is handling, for example.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// The first value of `name`.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The id of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.get(&REQUEST_ID)?.to_str().ok()
    }

    /// Runs `future` with these headers: what it calls gets them.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Takes `names` from `headers`, with all their values.
    fn take(names: &[HeaderName], headers: &HeaderMap) -> Self {
        let all = names
            .iter()
            .flat_map(|name| headers.get_all(name).iter().map(move |value| (name.clone(), value.clone())));
        Self(all.collect())
    }

    /// Adds these headers to `headers`, except those that are there already.
    fn put(&self, headers: &mut HeaderMap) {
        let mut given = None;
        for (name, value) in self.0.iter() {
            // Values of one name stand together.
            if given != Some(name) && headers.contains_key(name) {
                continue;
            }
            given = Some(name);
            headers.append(name.clone(), value.clone());
        }
    }
}

/// A header that cannot travel: it belongs to one connection, or to the message itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} belongs to one message or connection and cannot be carried further")]
pub struct NotCarried(HeaderName);

/// Whether `name` belongs to one connection or one message.
fn stays(name: &HeaderName) -> bool {
    is_of_connection(name)
        || matches!(name.as_str(), "content-encoding" | "content-type")
        || name.as_str().starts_with("grpc-")
}

/// Whether `name` belongs to one connection, or to how a message goes over it.
pub(crate) fn is_of_connection(name: &HeaderName) -> bool {
    const STAY: [&str; 13] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    STAY.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_set_is_not_replaced_and_lists_stay_whole() {
        let [tenant, tag] = ["x-tenant", "x-tag"].map(HeaderName::from_static);
        let value = HeaderValue::from_static;
        let mut incoming = HeaderMap::new();
        for (name, text) in [(&tenant, "a"), (&tag, "1"), (&tag, "2")] {
            incoming.append(name, value(text));
        }
        let metadata = Metadata::take(&[tenant.clone(), tag.clone()], &incoming);
        let mut outgoing = HeaderMap::new();
        outgoing.insert(&tenant, value("mine"));
        metadata.put(&mut outgoing);
        assert_eq!(outgoing.get_all(&tenant).iter().collect::<Vec<_>>(), ["mine"]);
        assert_eq!(outgoing.get_all(&tag).iter().collect::<Vec<_>>(), ["1", "2"]);
    }
}
