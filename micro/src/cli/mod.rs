//! The command line: argv becomes a [`Request`](crate::command::Request), its replies become text.
//!
//! | Exit code | What it means |
//! |---|---|
//! | 0 | it was done; a command that runs until it is stopped was stopped |
//! | 1 | another failure |
//! | 2 | usage: the command line, a record or a URL is wrong |
//! | 3 | there is no such service or endpoint |
//! | 4 | a registry or an endpoint could not be reached, or does not serve |
//! | 130, 143 | SIGINT or SIGTERM ended a command that does not run until it is stopped |
//!
//! Data goes to standard output, everything else to standard error.

mod colour;
mod screen;

mod arguments;
mod output;
mod source;

mod report;
mod signals;

mod main;

pub use main::run;
