//! The `micro` program, run as a process over a registry in a directory of the test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

#[path = "../peer/mod.rs"]
mod peer;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../venv/mod.rs"]
mod venv;

#[cfg(all(feature = "consul", feature = "etcd"))]
mod backends;
mod bench;
mod call;
mod completion;
mod doctor;
mod echo;
mod errors;
mod events;
mod formats;
mod go_micro;
mod guests;
mod health;
mod original;
mod output;
mod program;
mod proxy;
mod python;
mod records;
mod run;
mod settings;
mod shell;
mod stats;
mod stay;
mod terminal;
mod tls;
mod typing;
