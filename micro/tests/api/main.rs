//! The gateway as users meet it: the real program, real sockets, real services.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../cli/program.rs"]
mod program;

mod face;
mod service;
mod shop;

mod deploy;
mod grpc;
mod hostile;
mod http;
mod own;
mod rpc;
mod transcode;
mod websocket;
