//! go-micro's RPC as it is on the wire, from v0 to v6, translated to gRPC and back at the edge.
//!
//! A [`Message`] is what go-micro's transports carry: headers and a body. [`detect`] reads what a message asks for,
//! [`session`] keeps the calls of one peer, [`serve`] makes a gRPC request of each and messages of its response. What serves them,
//! with all its layers, never learns that the caller was not gRPC.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod detect;
pub(crate) mod front;
pub(crate) mod http1;
pub(crate) mod json_rpc;
pub(crate) mod message;
#[cfg(feature = "nats")]
pub(crate) mod nats;
pub(crate) mod prefixed;
pub(crate) mod proto_rpc;
pub(crate) mod serve;
pub(crate) mod session;

pub(crate) use self::message::Message;

/// The longest message, as in go-micro's gRPC and in gRPC.
pub(crate) const LONGEST: usize = 4 << 20;

/// The end of a stream, in place of an error.
pub(crate) const END: &str = "EOS";

/// In the extensions of a request that came over go-micro's RPC: the first message of a stream is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening(pub(crate) detect::Era);

/// In the extensions of a response that is a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams;
