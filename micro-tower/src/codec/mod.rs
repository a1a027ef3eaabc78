//! Messages as bytes and back, chosen by content type.
//!
//! A [`Codec`] is one impl: JSON, protobuf and raw bytes are here, another is a few lines, and [`Or`] puts two
//! together. gRPC's [`frames`](frame) carry any of them, compressed or not.
//!
//! ```
//! use bytes::Bytes;
//! use micro_tower::codec::{Codec, Json, Or};
//! use tower::BoxError;
//!
//! /// Text in capitals.
//! struct Loud;
//!
//! impl Codec<String> for Loud {
//!     fn speaks(format: &str) -> bool {
//!         format == "loud"
//!     }
//!
//!     fn encode(_: &str, value: &String) -> Result<Bytes, BoxError> {
//!         Ok(value.to_uppercase().into())
//!     }
//!
//!     fn decode(_: &str, bytes: Bytes) -> Result<String, BoxError> {
//!         Ok(String::from_utf8(bytes.into())?.to_lowercase())
//!     }
//! }
//!
//! type Both = Or<Json, Loud>;
//! let hello = "hello".to_owned();
//! assert_eq!(Both::encode("loud", &hello).unwrap(), "HELLO");
//! assert_eq!(Both::encode("json", &hello).unwrap(), "\"hello\"");
//! assert!(!<Both as Codec<String>>::speaks("xml"));
//! ```

mod compress;
pub mod frame;

use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tower::BoxError;

pub use self::compress::{compress, decompress};

/// Turns values into bytes and back.
///
/// A format is what stands behind `application/` in a content type, in lower case: `json`, `proto`. Only formats that
/// a codec [speaks](Self::speaks) are asked of it.
pub trait Codec<T>: Send + Sync + 'static {
    /// Whether this codec is for `format`.
    fn speaks(format: &str) -> bool;

    /// Writes `value`.
    ///
    /// # Errors
    ///
    /// What `value` holds cannot be said in this format.
    fn encode(format: &str, value: &T) -> Result<Bytes, BoxError>;

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// `bytes` are no such value.
    fn decode(format: &str, bytes: Bytes) -> Result<T, BoxError>;
}

/// The formats of `A`, and those of `B`.
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B>(PhantomData<fn() -> (A, B)>);

impl<T, A: Codec<T>, B: Codec<T>> Codec<T> for Or<A, B> {
    fn speaks(format: &str) -> bool {
        A::speaks(format) || B::speaks(format)
    }

    fn encode(format: &str, value: &T) -> Result<Bytes, BoxError> {
        if A::speaks(format) { A::encode(format, value) } else { B::encode(format, value) }
    }

    fn decode(format: &str, bytes: Bytes) -> Result<T, BoxError> {
        if A::speaks(format) { A::decode(format, bytes) } else { B::decode(format, bytes) }
    }
}

/// JSON, for whatever serde can read and write.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn speaks(format: &str) -> bool {
        format == "json"
    }

    fn encode(_: &str, value: &T) -> Result<Bytes, BoxError> {
        Ok(serde_json::to_vec(value)?.into())
    }

    fn decode(_: &str, bytes: Bytes) -> Result<T, BoxError> {
        // What has no body is asked for with nothing.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Protobuf, for messages of prost.
#[derive(Clone, Copy, Debug)]
pub struct Protobuf;

impl<T: prost::Message + Default> Codec<T> for Protobuf {
    fn speaks(format: &str) -> bool {
        matches!(format, "proto" | "protobuf" | "x-protobuf")
    }

    fn encode(_: &str, value: &T) -> Result<Bytes, BoxError> {
        Ok(value.encode_to_vec().into())
    }

    fn decode(_: &str, bytes: Bytes) -> Result<T, BoxError> {
        Ok(T::decode(bytes)?)
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn speaks(format: &str) -> bool {
        format == "octet-stream"
    }

    fn encode(_: &str, value: &Bytes) -> Result<Bytes, BoxError> {
        Ok(value.clone())
    }

    fn decode(_: &str, bytes: Bytes) -> Result<Bytes, BoxError> {
        Ok(bytes)
    }
}

/// Bytes as they are, whatever they are called: for those who hand them on.
#[derive(Clone, Copy, Debug)]
pub struct Any;

impl Codec<Bytes> for Any {
    fn speaks(_: &str) -> bool {
        true
    }

    fn encode(_: &str, value: &Bytes) -> Result<Bytes, BoxError> {
        Ok(value.clone())
    }

    fn decode(_: &str, bytes: Bytes) -> Result<Bytes, BoxError> {
        Ok(bytes)
    }
}
