//! What can be done, whichever face asks: one trait, [`Command`], and one list, [`Request`].

mod failure;
mod reply;

mod context;
mod handler;

mod duration;
mod missing;
mod record;

mod deregister;
mod get;
mod health;
mod list;
mod register;
mod watch;

mod request;

pub use context::Context;
pub(crate) use context::redacted;
pub use deregister::Deregister;
pub(crate) use failure::chain;
pub use failure::{Failure, Kind};
pub use get::Get;
pub use handler::{Command, Replies};
pub use health::Health;
pub use list::List;
pub use register::Register;
pub use reply::{Changed, Checked, Done, Event, Listed, Reply, State};
pub use request::Request;
pub use watch::Watch;
