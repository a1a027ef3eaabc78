//! The bot: on a terminal, by webhook, in a stand-in of Slack, at a real XMPP server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

mod chat;
mod command;
mod free;
mod post;
mod provided;
mod slack;
mod webhook;
#[cfg(feature = "xmpp")]
mod xmpp;
