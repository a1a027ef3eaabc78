//! Which endpoint was picked for a request, for a layer above that wants to know.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::endpoint::{About, Endpoint};

/// Holds the endpoint picked last, in the extensions of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen(Arc<ArcSwapOption<About>>);

impl Chosen {
    pub(crate) fn set(&self, endpoint: &Endpoint) {
        self.0.store(Some(endpoint.about().clone()));
    }

    pub(crate) fn id(&self) -> Option<Arc<str>> {
        Some(self.0.load().as_ref()?.id().clone())
    }
}
