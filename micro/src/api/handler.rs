//! Which way a request goes to its service: by what methods announce, or by what is known of the service.

use std::str::FromStr;

use crate::proxy::Upstream;

/// The way of a request to its service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handler {
    /// What the service announces, or else what it looks like: methods are called, others get the request.
    #[default]
    Meta,
    /// The request as a message: go-micro's `api.Request`, answered by an `api.Response`.
    Api,
    /// The body as a call of the method that the path names.
    Rpc,
    /// The request itself, by HTTP.
    Http,
    /// The request itself, by HTTP or as a WebSocket.
    Web,
    /// The body as an event.
    Event,
}

/// No handler has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no handler is called {0:?}: it is meta, api, rpc, http (or proxy), web or event")]
pub struct UnknownHandler(String);

impl FromStr for Handler {
    type Err = UnknownHandler;

    fn from_str(text: &str) -> Result<Self, UnknownHandler> {
        match text {
            "meta" => Ok(Self::Meta),
            "api" => Ok(Self::Api),
            "rpc" => Ok(Self::Rpc),
            "http" | "proxy" => Ok(Self::Http),
            "web" => Ok(Self::Web),
            "event" => Ok(Self::Event),
            _ => Err(UnknownHandler(text.to_owned())),
        }
    }
}

impl Handler {
    /// What `upstream` wants of a request for `method`: what the method says, or the service; or else a call where it
    /// announces methods or speaks nothing but RPC, and the request itself where it does not.
    pub(super) fn of(upstream: &Upstream, method: Option<&str>) -> Self {
        Self::said(upstream, method).unwrap_or(Self::Http)
    }

    /// The same, where anything is said at all.
    pub(super) fn said(upstream: &Upstream, method: Option<&str>) -> Option<Self> {
        let facts = upstream.facts();
        let announced = facts.records.iter().flat_map(|record| &record.methods);
        let announced = announced.filter(|known| Some(known.name.as_str()) == method);
        let label = announced.filter_map(|known| known.metadata.get("handler")).next();
        if let Some(Ok(handler)) = label.or(facts.handler.as_ref()).map(|label| label.parse())
            && handler != Self::Meta
        {
            return Some(handler);
        }
        match facts.protocol.as_deref() {
            Some("grpc" | "mucp" | "rpc") => Some(Self::Rpc),
            Some(_) => Some(Self::Http),
            None if facts.records.iter().any(|record| !record.methods.is_empty()) => Some(Self::Rpc),
            None if upstream.is_described() => Some(Self::Rpc),
            None => None,
        }
    }
}
