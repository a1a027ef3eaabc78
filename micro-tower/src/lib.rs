//! How a request travels.

pub mod client;
pub mod deadline;
pub mod metadata;
pub mod server;
pub mod service;
pub mod status;
pub mod transport;

mod error;

pub use client::Client;
pub use error::{Error, Phase, Sent};
pub use server::Server;
pub use service::Service;
