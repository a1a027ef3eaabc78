//! Which endpoint was picked for a request, for a layer above that wants to know.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::{endpoint::Endpoint, stats::Stats};

/// Holds the endpoint picked last, in the extensions of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen(Arc<ArcSwapOption<Stats>>);

impl Chosen {
    pub(crate) fn set(&self, endpoint: &Endpoint) {
        self.0.store(Some(endpoint.stats().clone()));
    }

    pub(crate) fn id(&self) -> Option<Arc<str>> {
        Some(self.0.load().as_ref()?.id().clone())
    }
}
