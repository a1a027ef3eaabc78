//! Calls any method of any service, known by name at run time only, with JSON in and out.
//!
//! A [`Caller`] finds the service through the registry, balances over its endpoints with the library's own
//! [`Client`](micro_tower::Client), learns its methods by reflection, and keeps both for the next call. It is
//! what the command line, the gateway, the sidecar and the bot call by; the gateway goes one step lower where it
//! has messages already: [`Caller::method`], [`Caller::client`], [`invoke`].
//!
//! ```no_run
//! use std::time::Duration;
//! use micro::call::{Call, Caller, one};
//! use micro::schema::Json;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let caller = Caller::new(micro_discover::open("file:")?);
//! let call = Call::new("greeter".parse()?, "Greeter.Hello").timeout(Duration::from_secs(2));
//! let mut answers = caller.call(call, one(r#"{"name":"John"}"#)).await?;
//! while let Some(answer) = answers.next().await {
//!     println!("{}", answer?.json(&Json::new())?);
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod error;
mod reason;
mod request;
mod target;

mod codec;
mod input;
mod invoke;

mod go_micro;

mod prepared;

mod caller;
mod clients;

pub use answer::{Answer, Answers};
pub use caller::Caller;
pub use codec::DynamicCodec;
pub use error::Error;
pub(crate) use error::what;
pub(crate) use go_micro::{ask_one, is_go_micro};
pub(crate) use input::wrong;
pub use input::{Documents, documents, one};
pub use invoke::{MOST_BYTES, invoke};
pub use prepared::Prepared;
pub(crate) use reason::{reason, say_reason};
pub use request::Call;
pub use target::Target;
