//! Where are the endpoints of a service, and which of them change?
//!
//! A server *announces* itself in a [`Registry`] and keeps doing so; a client *watches* the registry and gets a
//! stream of [`Change`](tower::discover::Change)s that feeds any tower balancer and that no outage of the
//! registry can end:
//!
//! ```text
//! Announce -> Registry -> Watch -> (Filter) -> Endpoints -> a balancer
//!  renews      a backend   keeps the last       whole sets become
//!  itself                  good set             inserts and removals
//! ```
//!
//! ```
//! use micro_discover::{Announce, Endpoint, Endpoints, Service, Watch, open};
//! use futures_util::StreamExt;
//! use tower::discover::Change;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = open("memory:")?;
//!
//! // A server says where it listens, for as long as it does.
//! let record = Service::new("greeter").endpoint(Endpoint::new("greeter-1", "127.0.0.1:50051".parse()?));
//! let announcement = Announce::new(registry.clone(), record).start().await?;
//!
//! // A client learns of it, and of its end.
//! let mut changes = Endpoints::new(Watch::new(registry, "greeter"));
//! let Some(Ok(Change::Insert(id, endpoint))) = changes.next().await else { panic!("nobody there") };
//! assert_eq!((id.as_str(), endpoint.address.port()), ("greeter-1", Some(50051)));
//!
//! announcement.withdraw().await?;
//! assert!(matches!(changes.next().await, Some(Ok(Change::Remove(id))) if id == "greeter-1"));
//! # Ok(())
//! # }
//! ```
//!
//! Registries: [`Memory`] in one process, [`Fixed`] lists, and `File` (feature `file`, on by default), a directory that
//! all processes of a user share with no server. [`open`] turns a URL into one. Another backend is another
//! implementation of [`Registry`]; everything else here works with it unchanged.

// What is announced.
mod address;
mod invalid;
mod labels;
mod record;

// Where it is kept.
mod registry;

// What keeps going when that fails.
mod announce;
mod backoff;
mod endless;
mod mark;
mod watch;

// What a balancer sees of it.
mod endpoints;
mod filter;
mod known;

// The registries, and how a URL names one.
#[cfg(any(feature = "mdns", feature = "nats"))]
mod beliefs;
#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "dns")]
mod dns;
#[cfg(any(feature = "consul", feature = "kubernetes"))]
mod escape;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "file")]
mod file;
mod fixed;
#[cfg(any(feature = "mdns", feature = "nats"))]
mod follow;
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes", feature = "mdns", feature = "nats"))]
mod gomicro;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "mdns")]
mod mdns;
mod memory;
mod merge;
#[cfg(feature = "nats")]
mod nats;
mod open;
#[cfg(any(feature = "mdns", feature = "nats"))]
mod owned;
#[cfg(any(feature = "consul", feature = "mdns"))]
mod packed;
#[cfg(any(feature = "consul", feature = "etcd"))]
mod pem;
#[cfg(any(test, fuzzing))]
pub mod probe;
#[cfg(any(feature = "consul", feature = "etcd", feature = "file", feature = "mdns", feature = "nats"))]
mod rival;
#[cfg(any(feature = "mdns", feature = "nats"))]
mod said;
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
mod template;
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes", feature = "mdns", feature = "nats"))]
mod text;
#[cfg(any(feature = "consul", feature = "etcd", feature = "mdns", feature = "nats"))]
mod url;

// Registries made of registries.
mod cache;
mod chain;
mod union;

pub use address::Address;
pub use announce::{Announce, Announcement};
pub use cache::Cache;
pub use chain::Chain;
#[cfg(feature = "consul")]
pub use consul::{Consul, ConsulBuilder};
#[cfg(feature = "dns")]
pub use dns::Dns;
pub use endpoints::{Connect, Endpoints};
#[cfg(feature = "etcd")]
pub use etcd::{Etcd, EtcdBuilder};
#[cfg(feature = "file")]
pub use file::File;
pub use filter::Filter;
pub use fixed::Fixed;
pub use invalid::Invalid;
#[cfg(feature = "kubernetes")]
pub use kubernetes::{Family, Forbidden, Initial, Kubernetes, PodAnnotations, Port};
pub use labels::Labels;
#[cfg(feature = "mdns")]
pub use mdns::Mdns;
pub use memory::Memory;
#[cfg(feature = "nats")]
pub use nats::{Nats, NatsBucket};
pub use open::{open, schemes};
pub use record::{Endpoint, EndpointId, Method, Service, Shape};
pub use registry::{Error, Registry};
pub use union::Union;
pub use watch::{Status, Watch};
