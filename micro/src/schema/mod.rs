//! What can be called, known at run time only: descriptors from server reflection, from `.proto` files or from
//! descriptor sets, and JSON to messages and back by them.
//!
//! | from | by |
//! |---|---|
//! | a server's reflection, v1 or else v1alpha | [`Schema::reflect`] |
//! | `.proto` files, without `protoc` | [`Schema::compile`] |
//! | descriptor sets, as `protoc -o` and `buf build` write them | [`Schema::decode`] |
//!
//! Descriptors are taken from anybody: their size is bounded, editions 2023 and 2024 are understood, and what is
//! broken is an [`Error`], never a panic.
//!
//! ```
//! use micro::schema::{Json, Schema};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("schema-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! # let proto = "syntax = 'proto3'; package greeter; message Hello { string name = 1; }
//! #     service Greeter { rpc Say(Hello) returns (Hello); }";
//! # std::fs::write(dir.join("greeter.proto"), proto)?;
//! let schema = Schema::compile(["greeter.proto"], [&dir])?;
//! let method = schema.method("Greeter.Say")?;
//! let json = Json::new();
//! let message = json.read(&method.input(), br#"{"name":"John"}"#)?;
//! assert_eq!(json.write(&message)?, r#"{"name":"John"}"#);
//! # std::fs::remove_dir_all(dir)?;
//! # Ok(())
//! # }
//! ```

mod encode;
mod error;
mod json;
mod seldom;
mod strict;
mod write;

mod editions;
mod pool;

mod files;
mod reflection;

mod cache;
mod found;

#[cfg(test)]
mod values;

pub mod print;
mod template;

pub use cache::Schemas;
pub(crate) use encode::{encode, encode_into};
pub use error::Error;
pub use found::Schema;
pub use json::{Json, JsonError};
pub use template::template;
