//! The command line: argv becomes commands, their replies become text.
//!
//! Data goes to standard output, everything else to standard error. Exit codes are those of
//! [`Kind::exit_code`](crate::command::Kind::exit_code). Settings come from where [`settings`](crate::settings)
//! says.
//!
//! A face that serves (`api`, `sidecar`, `web`, `bot`) is a [`Command`](crate::command::Command), a variant of
//! `Order` in `arguments.rs`, and an arm of `Order::face` there: it then runs on as many threads as there are
//! processors until it is told to stop, and no other face can be talked into starting it.

mod colour;
mod report;
mod reader;
mod signals;
mod tls;
mod topics;

mod completion;
mod config;
mod contexts;
mod help;
mod manual;
mod version;

// Faces.
mod bot;
mod web;

mod arguments;
mod open;
mod progress;

mod doctor;

mod complete;
mod tab;

mod execute;
mod columns;

mod live;

mod history;
mod prompt;
mod shell;

mod main;

pub use main::run;
