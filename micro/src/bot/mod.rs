//! A bot that lives in chats and runs the toolkit's commands there.
//!
//! [`Bot`] answers what [`Input`]s hear: Slack ([`slack`]), XMPP ([`xmpp`], which served HipChat as well), a
//! [`terminal`] to try it, a [`webhook`] for everything else. Its commands are those of the command line; `echo`,
//! `time`, `ping`, `hello`, `the three laws` and `help`; and those that services bring: a service called
//! `go.micro.bot.deploy` answers `deploy …` by its methods `Command.Exec` and `Command.Help`.
//!
//! Everybody may look, unless [`Rights`] say less; nobody may change anything, unless they say so. What was asked and
//! what came of it is written to an [`Audit`] log. A slow command keeps nobody waiting but who asked for it.

mod answer;
mod audit;
mod heard;
mod lost;
mod mount;
mod recent;
mod rights;

mod builtin;
mod provided;

mod desk;
mod supervise;

mod settings;

pub mod slack;
pub mod terminal;
pub mod webhook;
#[cfg(feature = "xmpp")]
pub mod xmpp;

pub use answer::Answer;
pub use audit::Audit;
pub use heard::{Heard, Input, Speaker};
pub use mount::Mounted;
pub use rights::{InvalidRule, Rights};
pub use settings::{Bot, Builder};
