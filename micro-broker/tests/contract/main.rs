//! One suite of promises, run against every backend on its real server.
//!
//! Each backend's file says how its server starts and which promises it makes; `suite` holds what must then be true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(any(feature = "http", feature = "nats", feature = "rabbitmq"))]
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "without a server few faults can strike")
)]
mod faults;
#[cfg(all(feature = "nats", feature = "rabbitmq"))]
mod go_micro;
#[cfg(feature = "http")]
mod http;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(any(feature = "http", feature = "nats", feature = "rabbitmq"))]
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "without a server few faults can strike")
)]
mod process;
#[cfg(any(feature = "http", feature = "nats", feature = "rabbitmq"))]
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "without a server nothing is to be cut off")
)]
mod proxy;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(any(feature = "http", feature = "nats", feature = "rabbitmq"))]
#[cfg_attr(
    not(all(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "of two servers one is used")
)]
mod server;
#[cfg(feature = "nats")]
mod stored;
mod suite;
