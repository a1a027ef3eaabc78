//! The `micro` program, run as a process over a registry in a directory of the test.

#![allow(clippy::unwrap_used, reason = "test helpers too fail by panicking")]

#[cfg(all(feature = "consul", feature = "etcd"))]
mod backends;
mod errors;
mod health;
mod output;
mod program;
mod records;
mod stay;
