//! How a request travels.

pub mod transport;

mod error;

pub use error::{Error, Phase, Sent};
