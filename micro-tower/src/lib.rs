//! How a request travels: from a caller over retries, balancer and connection to a server, and on from there.
//!
//! Every part is a [`tower`] layer or service and can be used alone. Put together they are a [`Client`], a
//! [`Server`] and a [`Service`]:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use micro_tower::Service;
//! use tonic::body::Body;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! # let registry = std::sync::Arc::new(micro_discover::Memory::default());
//! // A server. Any tower service will do: tonic's Routes, an axum Router, a function.
//! let greeter = Service::builder("greeter").registry(registry.clone()).build()?;
//! let hello = tower::service_fn(|_: Request<Body>| async {
//!     Ok::<_, Infallible>(Response::new(Body::new(String::from("hello"))))
//! });
//! tokio::spawn(greeter.run_until(hello, std::future::pending()));
//!
//! // A client finds it by its name. A generated one takes it too: GreeterClient::new(client).
//! let caller = Service::builder("caller").registry(registry).build()?;
//! let client = caller.client("greeter");
//! # while client.endpoints().is_empty() { tokio::time::sleep(Duration::from_millis(1)).await; }
//! let response = client.send(Request::get("/").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what is there |
//! |---|---|
//! | [`service`] | who a process is, what it calls, what it serves |
//! | [`client`] | the way of a request: metadata, deadline, retry, balancer, connection |
//! | [`server`] | listening, announcing, stopping without losing a request |
//! | [`transport`] | one endpoint over HTTP/2, HTTP/1, TLS, unix sockets, memory, NATS, RabbitMQ |
//! | [`deadline`] | one absolute instant, wherever a call goes |
//! | [`metadata`] | headers that travel with a request |
//! | [`status`] | errors in the words of gRPC and HTTP |
//! | [`codec`] | messages as bytes, by content type |
//! | [`wire`] | methods by name, in gRPC and go-micro's RPC, and calls to them in JSON |

pub mod service;

pub mod client;
pub mod server;

pub mod wire;

pub mod transport;

mod pipe;

pub mod deadline;
pub mod metadata;

pub mod codec;
mod gomicro;
#[cfg(any(test, fuzzing))]
pub mod probe;
#[cfg(test)]
mod simulation;

mod endless;
mod error;
mod fault;
mod one_piece;
pub mod status;

pub use client::Client;
pub use error::{Error, Phase, Sent};
pub use fault::Fault;
pub use server::Server;
pub use service::Service;
