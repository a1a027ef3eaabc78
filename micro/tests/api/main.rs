//! The gateway as users meet it: the real program, real sockets, real services.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../cli/program.rs"]
mod program;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../venv/mod.rs"]
mod venv;

mod face;
mod service;
mod shop;

mod answers;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod backends;
mod clients;
mod compress;
mod deploy;
mod dribble;
mod endless;
mod event;
mod frames;
mod grpc;
mod handlers;
mod handshakes;
mod heavy;
mod hostile;
mod http;
mod http2;
mod mutual;
mod odd;
mod otel;
mod own;
mod peers;
mod reach;
mod resolver;
mod rolling;
mod rotation;
mod route;
mod rpc;
mod streams;
mod transcode;
mod upload;
mod websocket;
