//! What can be done, whichever face asks: one trait, [`Command`], and one list, [`Request`].
//!
//! A face that has a line of text instead of arguments reads it by [`parse`].

mod failure;
mod redact;
mod reply;

mod library;
mod local;

mod context;
mod handler;

mod missing;
mod words;

mod record;

mod tables;

mod reload;

mod secured;
mod spans;

mod api;
mod operator;
mod get;

mod called;
mod measure;

mod ask;
mod call;

mod aim;

mod bench;
mod deregister;
mod describe;
mod doctor;
mod health;
mod list;
mod new;
mod publish;
mod register;
mod run;
mod sidecar;
mod stats;
mod subscribe;
mod tap;
mod watch;

mod request;

mod line;

pub use api::Api;
pub(crate) use api::address;
pub use ask::Ask;
pub use bench::Bench;
pub use call::{Call, Source};
pub use context::Context;
pub use deregister::Deregister;
pub use describe::Describe;
pub use doctor::{Doctor, Places};
pub use failure::{Failure, Kind};
pub use get::Get;
pub use handler::{Command, Replies};
pub use health::Health;
pub use line::{parse, parse_words};
pub(crate) use line::{read, words};
pub use list::List;
pub use new::New;
pub use operator::Operator;
pub use publish::Publish;
pub(crate) use redact::redacted;
pub use register::Register;
pub(crate) use reload::check;
pub use reply::{
    Answered, Benched, BenchedEndpoint, Built, Changed, Checked, Created, Described, Done, Event, Finding,
    Heard, Latency, Listed, Listening, Log, Measured, Metadata, NamedContext, NodeAnswer, Outcome, Progress,
    Published, Reply, Setting, State, Text,
};
pub use request::{Registered, Request};
pub use run::Run;
pub(crate) use secured::spiffe_ids;
pub use sidecar::Sidecar;
pub use stats::{Stats, Top};
pub use subscribe::Subscribe;
pub(crate) use tables::check_tables;
pub use tap::Tap;
pub use watch::Watch;
