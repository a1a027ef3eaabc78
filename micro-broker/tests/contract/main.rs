//! One suite of promises, run against every backend on its real server.
//!
//! Each backend's file says how its server starts and which promises it makes; `suite` holds what must then be true.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod server;
mod suite;
