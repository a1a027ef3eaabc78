//! The dashboard: its pages, what keeps them up to date, who may use them, and all of it in a real browser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

#[allow(dead_code, reason = "the tests of the gateway use the rest")]
#[path = "../api/face.rs"]
mod face;
#[path = "../peer/mod.rs"]
mod peer;
#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../cli/program.rs"]
mod program;

mod browser;
mod crowd;
mod feed;
mod hostile;
mod pages;
mod scale;
mod site;
mod who;
