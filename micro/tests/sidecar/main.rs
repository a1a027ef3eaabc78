//! The sidecar as programs meet it: the real binary, real sockets, real services.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

#[allow(dead_code, reason = "the tests of the gateway use the rest")]
#[path = "../api/face.rs"]
mod face;
#[path = "../peer/mod.rs"]
mod peer;
#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../cli/program.rs"]
mod program;
#[path = "../venv/mod.rs"]
mod venv;
#[path = "../servers/mod.rs"]
mod servers;

mod echo;
mod listen;

mod app;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod backends;
mod calls;
mod events;
mod proxy;
mod python;
mod registry;
mod schemathesis;
mod tap;
