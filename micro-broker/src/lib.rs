//! Events: a broker whose subscribers are tower services.
//!
//! ```
//! use micro_broker::{Event, Publisher, Subscribe, deliver};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let broker = micro_broker::open("memory:")?;
//! let orders = broker.subscribe(Subscribe::to("orders.*").group("billing")).await?;
//!
//! let (done, mut bills) = tokio::sync::mpsc::channel(1);
//! let bill = ServiceBuilder::new().concurrency_limit(4).service(service_fn(move |event: Event| {
//!     let done = done.clone();
//!     async move { done.send(event.body).await }
//! }));
//! tokio::spawn(deliver(orders, bill).run());
//!
//! let publisher = Publisher::new(broker);
//! publisher.oneshot(Event::new("orders.created", "7 apples")).await?;
//! assert_eq!(bills.recv().await.unwrap(), "7 apples");
//! # Ok(())
//! # }
//! ```
//!
//! # What each backend promises
//!
//! | | [`Memory`] | `Http` | `Nats` (`?core`) | `JetStream` | `RabbitMq` |
//! | --- | --- | --- | --- | --- | --- |
//! | delivery | at least once while the process lives | at least once while the publisher lives | at most once | at least once | at least once |
//! | `Ok` of a publication | it is in every queue | it is in the publisher's outbox | it was handed to a standing connection | the server has stored it | every queue has written it |
//! | without a server | | | fails within its limit | fails within its limit | fails within its limit |
//! | order of a publisher's events | kept | kept with one [in flight](Subscribe::in_flight) | kept | kept while nothing fails | kept while nothing fails |
//! | durable | no | no | no | on disk | on disk; `?quorum` replicated |
//! | a group without members | keeps its events | keeps its outbox | gets nothing | keeps its events | keeps its events |
//! | what is too much | the publisher waits, then [`Error::Full`] | [`Error::Full`] | dropped at the subscriber, counted in [`Health`] | waits in the server | waits in the server |
//! | attempts are counted by | the process | the publisher | the process | the server | the process; `?quorum` the server |
//! | publishing an id again | is another event | is another event | is another event | has no effect for two minutes | is another event |
//! | values of headers | any | any; text in go-micro's envelopes | text in UTF-8, else refused | text in UTF-8, else refused | any; text in go-micro's envelopes |
//! | ids | any | what fits a header, else refused | what fits a header, else refused | what fits a header, else refused | any |
//! | wildcards | `*` `>` `#` | `*` `>` `#` | `*` `>` | `*` `>` | `*` `#` |
//!
//! Everywhere an event that keeps failing ends among the dead letters, a slow handler slows its own subscription and
//! nothing else, and [`DedupLayer`] makes at least once into once for each process.

mod backoff;
mod broker;
mod codec;
mod confirm;
mod deadline;
mod dedup;
mod deliver;
mod delivery;
#[cfg(any(feature = "http", feature = "nats", feature = "rabbitmq"))]
mod envelope;
#[cfg(any(feature = "http", feature = "nats"))]
mod envelope_json;
mod error;
mod event;
#[cfg(feature = "http")]
mod http;
mod id;
mod member;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod open;
mod policy;
#[cfg(all(any(test, fuzzing), feature = "http"))]
pub mod probe;
mod publisher;
mod queue;
mod queued;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod settle;
mod subscribe;
mod subscription;
mod topic;
#[cfg(any(feature = "http", feature = "nats", feature = "rabbitmq"))]
mod url;

pub use backoff::Backoff;
pub use broker::Broker;
#[cfg(feature = "json")]
pub use codec::Json;
#[cfg(feature = "protobuf")]
pub use codec::Protobuf;
pub use codec::{Codec, Decode, DecodeLayer, Erased, Typed};
pub use confirm::Confirm;
pub use dedup::{Dedup, DedupLayer, Unfinished};
pub use deliver::{Deliver, Tally, deliver};
pub use delivery::{DEAD_ATTEMPTS, DEAD_GROUP_NAME, DEAD_REASON, DEAD_TOPIC, Delivery, Fate};
#[cfg(any(feature = "http", feature = "nats", feature = "rabbitmq"))]
pub use envelope::Envelope;
pub use error::{Error, Reject};
pub use event::{DEADLINE, Event, REQUEST_ID, TRACEPARENT, TRACESTATE};
#[cfg(feature = "http")]
pub use http::Http;
pub use id::Id;
pub use memory::Memory;
#[cfg(feature = "nats")]
pub use nats::{JetStream, Nats};
pub use open::{open, schemes};
pub use policy::DeadLetters;
pub use publisher::Publisher;
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::RabbitMq;
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::connect::connect as connect_rabbitmq;
pub use settle::Settle;
pub use subscribe::Subscribe;
pub use subscription::{Health, Incoming, Report, Subscription};
pub use topic::{DEAD_GROUP, DEAD_PREFIX, matches};
