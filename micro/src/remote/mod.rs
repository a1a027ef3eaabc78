//! A sidecar as registry, broker and caller: what `--proxy` goes through.
//!
//! It speaks the sidecar's HTTP, which go-micro's speaks too: `/registry`, `/rpc`, `/broker`, with go-micro's records
//! in JSON.

mod http;
pub(crate) mod record;

mod broker;
mod registry;
mod sidecar;

pub(crate) use http::{Http, request};
pub(crate) use sidecar::FAILURE;
pub use sidecar::Sidecar;
