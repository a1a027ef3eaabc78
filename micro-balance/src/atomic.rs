//! The atomics of the figures: loom's when a model is checked, so that every order of them is tried.
//!
//! `RUSTFLAGS="--cfg micro_loom" cargo test -p micro-balance --lib loom` checks the models.

#[cfg(micro_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(not(micro_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
