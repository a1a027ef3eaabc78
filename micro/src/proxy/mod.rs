//! Passes requests on to registered services: what the faces that stand in front of services share.
//!
//! [`Directory`] says which services there are, [`Upstream`] is one of them with its clients, and [`forward()`] carries
//! a request there and its answer back, nothing of them held whole. Only what a registry names can be reached.

mod fault;
mod path;

mod coded;
mod whole;

mod headers;
mod origin;
mod peer;

mod note;

mod meter;
mod upstream;

mod metered;

mod directory;

mod ahead;
mod body;
mod failure;

mod tunnel;

mod answered;
mod forwarding;
mod prepare;

mod step;

mod forward;

pub use body::Forwarded;
pub(crate) use coded::refuse_coded;
pub use directory::{Directory, DirectoryBuilder, Unreachable};
pub use failure::answer_failure;
pub use fault::Fault;
pub use forward::{Forward, forward};
pub use forwarding::{Forwarding, Resend};
pub(crate) use headers::is_listed;
pub use meter::{Active, Meter};
pub(crate) use metered::metered;
pub use origin::Origins;
pub use path::check as check_path;
pub use peer::{Peer, REQUEST_ID, request_id};
pub(crate) use tunnel::Kept;
pub use tunnel::Tunnels;
pub(crate) use upstream::for_many;
pub use upstream::{Facts, Upstream, Wire};
pub(crate) use whole::whole;
