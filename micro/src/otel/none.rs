//! In place of spans in a build without them.

use std::convert::Infallible;
use std::time::Duration;

use http::Request;
use tonic::body::Body;

use crate::api::{Observed, Observer};
use crate::proxy::Peer;

/// There are none.
#[derive(Clone, Debug)]
pub(crate) enum Spans {}

impl Spans {
    pub(crate) fn from_environment() -> Result<Option<Self>, Infallible> {
        Ok(None)
    }

    pub(crate) async fn close(&self, _: Duration) {
        match *self {}
    }
}

impl Observer for Spans {
    fn begin(&self, _: &mut Request<Body>, _: &Peer) -> Box<dyn Observed> {
        match *self {}
    }
}
