//! What is said of endpoints where no registry keeps them: that they are there, for how long, and that they are gone.

use std::time::Duration;

use crate::record::{EndpointId, Service};

/// A record, and for how long it holds where the registry itself expires nothing.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) service: Service,
    pub(crate) ttl: Option<Duration>,
    /// Who says so.
    pub(crate) owner: Option<String>,
}

/// Endpoints that are said to be gone.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Ids, and addresses as they were written.
    pub(crate) nodes: Vec<(EndpointId, String)>,
    /// Who says so.
    pub(crate) owner: Option<String>,
}

#[cfg(feature = "mdns")]
impl From<Said> for Gone {
    fn from(said: Said) -> Self {
        let Service { name, version, endpoints, .. } = said.service;
        let place = |endpoint: crate::record::Endpoint| (endpoint.id, endpoint.address.to_string());
        Self { name, version, nodes: endpoints.into_iter().map(place).collect(), owner: said.owner }
    }
}
