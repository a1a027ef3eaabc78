//! The toolkit: see, call, register and check services. One binary, `micro`, over a library that other faces share.
//!
//! A [`command::Request`] says what is to be done, [`command::Command::run`] does it and gives
//! [`Reply`](command::Reply)s, data that a face shows: the command line as tables, JSON or YAML, by [`show`].
//! A face that gets lines of text reads them by [`command::parse`].
//!
//! Calls of methods that are known at run time only are in [`call`], what can be called in [`schema`].
//!
//! ```
//! use micro::command::{Command, Context, List, Replies, Reply};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), micro::command::Failure> {
//! let context = Context::open("memory:")?;
//! let (replies, mut shown) = Replies::channel();
//! List::default().run(&context, &replies).await?;
//! assert!(matches!(shown.recv().await, Some(Reply::Services(services)) if services.is_empty()));
//! # Ok(())
//! # }
//! ```

mod causes;
mod codes;
mod duration;
mod escape;
mod lines;
mod near;
mod places;
mod this_machine;
mod time_limit;

mod id;

pub mod schema;

pub mod remote;

pub mod call;

pub mod catalog;

pub mod traffic;

pub mod proxy;

pub mod transcode;

pub mod rpc;

pub mod api;

#[cfg(feature = "otel")]
pub mod otel;
#[cfg(not(feature = "otel"))]
#[path = "otel/none.rs"]
mod otel;

pub mod sidecar;

pub mod command;

pub mod show;

pub mod settings;

pub mod guest;

pub mod web;

pub mod bot;

pub mod cli;

/// The guide, so that what it shows compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/toolkit.md")]
struct Guide;
