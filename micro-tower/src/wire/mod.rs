//! Calls by name, whatever the peer speaks: gRPC, or go-micro's RPC from v0 to v6.
//!
//! # Serving
//!
//! A [`Router`] is one tower service that answers gRPC, and go-micro's clients of every version, on the same
//! listener. A handler is an async function; a tonic service can be served beside it, or alone.
//!
//! ```
//! use micro_tower::{Fault, wire::Router};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Request {
//!     name: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Response {
//!     greeting: String,
//! }
//!
//! async fn hello(request: Request) -> Result<Response, Fault> {
//!     Ok(Response { greeting: format!("Hello {}", request.name) })
//! }
//!
//! let router = Router::new().route("Greeter.Hello", hello);
//! // A tonic service too: router.grpc(routes, DESCRIPTORS)?
//! // Service::builder("greeter").wire().build()?.run(router).await
//! # drop(router);
//! ```
//!
//! Over gRPC and HTTP/2 that is all. [`Service`](crate::Service) has to be told
//! [`wire`](crate::service::Builder::wire) to listen for go-micro's HTTP/1 with its streams, and to be announced as
//! go-micro's clients expect. `NatsInbox`, by feature `nats`, serves them over NATS.
//!
//! # Calling
//!
//! A [`Client`] calls by name over a balanced [`crate::Client`], JSON in and JSON out: tonic servers by their
//! reflection, ours and go-micro's as they are.
//!
//! ```no_run
//! use micro_tower::{Fault, Service, wire};
//! use serde_json::json;
//!
//! # async fn call(service: Service) -> Result<(), Fault> {
//! let greeter = wire::Client::new(service.client("greeter"));
//! let answer = greeter.call_json("Greeter.Hello", json!({ "name": "John" })).await?;
//! println!("{}", answer["greeting"]);
//! # Ok(())
//! # }
//! ```

mod answers;
mod client;
mod debug;
mod grpc;
mod handled;
mod handler;
mod method;
#[cfg(feature = "nats")]
mod nats;
mod reflection;
mod requests;
mod router;
mod transcode;

#[cfg(feature = "nats")]
pub use self::nats::NatsInbox;
pub use self::{
    answers::Answers,
    client::Client,
    handler::{Handler, StreamHandler, With, both, raw, with},
    requests::Requests,
    router::{Router, RouterFuture},
    transcode::InvalidDescriptors,
};
