//! A load balancer as a [`tower`] service: shared, lock-free, and it loses no request.
//!
//! [`Balance`] takes any [`tower::discover::Discover`] whose services are `Clone`, and is a service itself.
//! Clones share everything. Picking an endpoint takes no lock, no allocation and no other task; a task of
//! the balancer's own connects, watches and ejects endpoints, and publishes who can take requests.
//!
//! | module | what is there |
//! |---|---|
//! | [`policy`] | which endpoint is next; your own is ten lines |
//! | [`eligible`] | which endpoints a policy chooses from: subsets, priorities, zones, slow start |
//! | [`Ejection`] | when an endpoint that does badly is left out |
//! | [`health`] | endpoints are asked whether they are well: gRPC, HTTP, TCP |
//! | [`Protocol`] | what is read from requests and answers: [`Opaque`] or [`Http`] |
//! | [`Unsent`], [`NotSent`] | what was not sent may be sent again |
//! | [`retry`], [`hedge`], [`timeout`] | layers that repeat what may be repeated, and give up on what takes too long |
//! | [`limit`], [`throttle`], [`failfast`], [`breaker`] | layers that turn requests away before they make things worse |
//! | `config` | all of this from configuration, by the feature of that name |
//! | [`session`] | a layer that keeps a client with its endpoint by a cookie |
//! | [`classify`] | whether an HTTP or gRPC answer is the endpoint's fault |

mod balance;
mod builder;
mod layer;
mod response;
mod search;
mod driver;
mod prober;
mod shared;
mod snapshot;
pub mod policy;
pub mod eligible;
mod protocol;
mod endpoint;
mod stats;
mod times;
mod view;
mod meter;
mod in_flight;
mod ewma;
mod load_report;
mod listen;
#[cfg(feature = "grpc")]
mod out_of_band;
mod eject;
pub mod health;
mod condition;
mod settings;
mod error;
mod cause;
mod last_words;
mod over;
mod sent;
mod broken;
mod repeatable;
mod parts;
mod tried;
mod chance;
mod sent_to;
mod clock;
mod saturating;
mod caught;
mod atomic;
// Layers to put around a balancer, or around any other service.
pub mod retry;
pub mod hedge;
pub mod timeout;
pub mod limit;
pub mod throttle;
pub mod failfast;
pub mod breaker;
pub mod session;
pub mod classify;
pub mod grpc_timeout;
mod answer;
mod overload;
mod sliding;
mod setting;
mod strategy;
#[cfg(feature = "config")]
pub mod config;

pub use answer::{Answer, Guard, HeldBody};
pub use balance::Balance;
pub use broken::BrokenBody;
pub use builder::Builder;
pub use cause::cause;
pub use chance::Chance;
pub use clock::Clock;
pub use driver::Reconnect;
pub use eject::{Ejection, Ejections, FailurePercentage, Latency, Reason, SuccessRate};
pub use endpoint::{Attributes, Endpoint};
pub use error::{NoEndpoints, NoMatch, NotReady, TooFewWell};
pub use in_flight::InFlight;
pub use last_words::last_words;
pub use layer::BalanceLayer;
pub use listen::{Reporter, Reports};
pub use load_report::LoadReport;
#[cfg(feature = "grpc")]
pub use out_of_band::OutOfBand;
pub use overload::Overloaded;
pub use parts::Parts;
pub use protocol::{CountedBody, HashKey, Http, Opaque, Protocol};
pub use repeatable::Repeatable;
pub use response::ResponseFuture;
pub use sent::{NotSent, Unsent};
pub use sent_to::SentTo;
pub use setting::InvalidSetting;
pub use strategy::Strategy;
pub use tried::Tried;
pub use view::{State, View};
