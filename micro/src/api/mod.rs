//! The API gateway: HTTP and gRPC from outside to the services of a registry.
//!
//! A [`Gateway`] is a tower service; [`Gateway::router`] makes it an axum router to be mounted in an application, and
//! `micro api` serves it. Requests are routed by path, as go-micro does ([`route`]), by another [`Resolver`], or by
//! what a method announces:
//!
//! | label of a method | what it says |
//! |---|---|
//! | `handler` | `rpc`, `api`, `http` (also `proxy`), `web`, `event`; for the service, where the service says it |
//! | `path` | patterns of paths that are for it, with commas between them: regular expressions, anywhere in the path |
//! | `method`, `host` | only requests of these methods, or for these hosts |
//! | `endpoint` | what it is called, where that is not its name in the record |
//!
//! What an application or a file says of a path goes before all of this: [`Rules`].
//!
//! | path | answer |
//! |---|---|
//! | `/healthz`, `/livez` | 200 while the process runs |
//! | `/readyz` | 200 from when the registry has answered, 503 before that and once the gateway is about to stop |
//! | `/metrics` | what is counted, for Prometheus |
//! | `/stats` | the last two minutes, as JSON or a page |
//! | `/rpc` | a call by name: see [`rpc`](crate::rpc) |
//!
//! What methods say in `google.api.http` is a route too, and `POST /package.Service/Method` takes JSON; services are asked for
//! their methods by reflection: see [`transcode`](crate::transcode).
//!
//! gRPC passes through, and so does gRPC-Web, which is translated. A service that is not registered is 404, one of which
//! nobody is ready 503, one that takes too long 504. Only what the registry names can be reached.

pub mod route;
mod resolver;

mod settings;

mod stats;

mod cors;
mod own;

mod handler;
mod grpc;
mod grpc_web;

mod announced;
mod catalog;
mod message;

mod event;

mod rules;

mod config;
mod policy;

mod called;

mod access;
mod observe;
mod compress;
mod compressed;

mod gateway;
mod limited;
mod names;
mod response;
mod hand;
mod meant;
mod way;

pub use access::{AccessLog, LogFormat};
pub use compress::{Compressible, compression};
pub(crate) use compressed::Compressed;
pub use config::InvalidRules;
pub use cors::{Cors, InvalidCors};
pub use event::EventForm;
pub use gateway::Gateway;
pub use handler::{Handler, UnknownHandler};
pub(crate) use observe::watched;
pub use observe::{Observed, Observer};
pub(crate) use own::answer_stats;
pub use resolver::{Resolver, UnknownResolver};
pub use response::ResponseFuture;
pub use rules::{Route, Rules};
pub use settings::Builder;
pub use stats::Stats;
