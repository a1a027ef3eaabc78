//! Sends a second request when the first takes unusually long, and takes whichever answers first.
//!
//! A tail latency is often one endpoint's bad moment; another endpoint answers as fast as ever. Only
//! requests that may be carried out twice are hedged, and a [`Budget`](crate::retry::Budget) of its own
//! keeps hedges from adding load when everything is slow.
//!
//! A service that takes one type of body only is given it as [within a retry layer](crate::retry).

mod call;
mod latency;
mod layer;
mod response;

pub use layer::{Hedge, HedgeLayer};
pub use response::ResponseFuture;
