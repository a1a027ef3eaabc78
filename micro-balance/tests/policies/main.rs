//! Every policy beside the tables that others publish for theirs, and its own promises.
//!
//! `data/` holds facts only; each file names its source.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod aperture;
mod bounded;
mod derived;
mod endpoints;
mod hashing;
mod inside;
mod least;
mod published;
mod requests;
mod rounds;
#[path = "../support/mod.rs"]
mod support;
mod two_choices;
mod weighted;
