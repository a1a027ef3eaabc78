//! `/rpc`: any method of any service by name, with JSON in and out, as go-micro's gateway, sidecar and dashboard have it.
//!
//! `POST` of JSON, `{"service": …, "method": …, "address": …, "request": …}`, or of a form with these fields; `endpoint` says
//! the same as `method`. An address is that of a registered endpoint: no other can be reached.
//!
//! An error is go-micro's. Where nothing was sent to the service, headers say why, for programs: `micro-failure` is
//! `unknown-method`, `ambiguous-method` or `wrong-request`; `micro-like` names the method that was perhaps meant,
//! `micro-methods` those that there are.

mod answer;
mod request;

pub use answer::{Rpc, by_name, failure};
pub use request::RpcRequest;
