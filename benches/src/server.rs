//! The servers of the broker's contract tests: the same, started the same way.

#![allow(dead_code, clippy::unwrap_used, reason = "tests restart and kill them, and fail by panicking")]

#[path = "../../micro-broker/tests/contract/server.rs"]
mod contract;

pub(crate) use self::contract::{NatsServer, RabbitServer, Server};
