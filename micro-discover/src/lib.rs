//! Where are the endpoints?

mod address;
mod backoff;
mod endpoints;
mod filter;
mod invalid;
mod memory;
mod merge;
mod record;
mod registry;
mod watch;

pub use address::Address;
pub use endpoints::{Connect, Endpoints};
pub use filter::Filter;
pub use invalid::Invalid;
pub use memory::Memory;
pub use record::{Endpoint, EndpointId, Method, Service, Shape};
pub use registry::{Error, Registry};
pub use watch::{Status, Watch};
