//! The servers of the contract tests of broker and discovery: the same, started the same way.

#![allow(dead_code, clippy::unwrap_used, reason = "tests restart and kill them, and fail by panicking")]

#[path = "../../micro-broker/tests/contract/server.rs"]
mod contract;
#[path = "../../micro-discover/tests/servers/mod.rs"]
pub(crate) mod registry;

pub(crate) use self::contract::{NatsServer, RabbitServer, Server};
