//! A load balancer as a [`tower`] service.

mod sent;
mod tried;
// Layers to put around a balancer, or around any other service.
// (the resilience layers' `mod` lines stand here)
pub mod classify;

pub use sent::{NotSent, Unsent};
pub use tried::Tried;
