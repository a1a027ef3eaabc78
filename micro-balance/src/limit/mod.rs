//! Lets only so many requests through at once: a number of your own, or what the service copes with.
//!
//! A service that takes more than it can work off answers all of them late. Turned away early, a request can
//! still go elsewhere: by a balancer around these layers to another endpoint. What tower's own `LoadShed` and
//! `ConcurrencyLimit` turn away is lost there, and counts as a failure of the endpoint.

mod aimd;
mod algorithm;
mod gate;
mod gradient;
mod gradient2;
mod layer;
mod learner;
mod recent;
mod response;
mod vegas;

pub use aimd::Aimd;
pub use algorithm::{Algorithm, Sample};
pub use gate::Permit;
pub use gradient::Gradient;
pub use gradient2::Gradient2;
pub use layer::{Limit, LimitLayer};
pub use response::ResponseFuture;
pub use vegas::Vegas;
