//! The dashboard: its pages, what keeps them up to date, who may use them, and all of it in a real browser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

#[path = "../peer/mod.rs"]
mod peer;

mod browser;
mod hostile;
mod pages;
mod site;
mod who;
