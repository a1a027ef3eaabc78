//! What is called, and how.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use micro_balance::SentTo;

use super::target::Target;
use crate::schema::Json;

/// One call, but for its messages.
#[derive(Clone, Debug)]
#[must_use]
pub struct Call {
    pub(super) target: Target,
    pub(super) method: String,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Option<Duration>,
    pub(super) endpoint: Option<String>,
    pub(super) json: Json,
    pub(super) sent_to: Option<SentTo>,
}

impl Call {
    /// A call of `method` (see [`Schema::method`](crate::schema::Schema::method)) at `target`.
    pub fn new(target: Target, method: impl Into<String>) -> Self {
        Self {
            target,
            method: method.into(),
            headers: HeaderMap::new(),
            timeout: None,
            endpoint: None,
            json: Json::new(),
            sent_to: None,
        }
    }

    /// Sends a header along; may be given several times.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sends these headers along, in place of all that were given.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// How long the call may take, to the end of its last answer; for ever unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Calls only the endpoint with this id or address.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// What is called.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Has it said in `sent_to` to which endpoint the call went.
    pub fn sent_to(mut self, sent_to: SentTo) -> Self {
        self.sent_to = Some(sent_to);
        self
    }

    /// How what is sent is read.
    pub fn json(mut self, json: Json) -> Self {
        self.json = json;
        self
    }
}
