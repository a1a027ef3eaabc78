//! From `.proto` to tonic code, without `protoc`.
//!
//! A build script in three lines:
//!
//! ```no_run
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     micro_build::compile("proto/greeter.proto")?;
//!     Ok(())
//! }
//! ```
//!
//! and in the crate, with `prost`, `tonic` and `tonic-prost` among its dependencies, the client and the server
//! of package `greeter`:
//!
//! ```text
//! pub mod greeter {
//!     tonic::include_proto!("greeter");
//!     /// For reflection.
//!     pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("greeter");
//! }
//! ```
//!
//! Cargo runs the script again when the file or anything it imports changes. An error names file, line and
//! column. [`Config`] has the settings; [`Config::methods`] adds what a registry record says of each service,
//! [`Config::wire`] what speaks go-micro's RPC too, [`Config::mock`] servers for tests.

mod config;
mod error;
mod methods;
mod mock;
mod names;
mod shape;
mod wire;

use std::path::Path;

pub use config::Config;
pub use error::Error;

/// Compiles one file with the defaults of [`Config`]: client, server and descriptor set, into `OUT_DIR`.
///
/// # Errors
///
/// See [`Config::compile`].
pub fn compile(proto: impl AsRef<Path>) -> Result<(), Error> {
    Config::new().compile([proto])
}
