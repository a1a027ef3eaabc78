//! go-micro's messages as it sends them over HTTP/1: requests and responses that come in order but not in pairs.
//!
//! A stream has more answers than requests or fewer, which no HTTP library can say. So heads are parsed by
//! `httparse` and written here, byte for byte as Go's `net/http` does.

mod read;
mod write;

#[cfg(any(test, fuzzing))]
pub(crate) use self::read::{Progress, message};
#[cfg(feature = "nats")]
pub(crate) use self::write::canonical;
pub(crate) use self::{
    read::{Head, LONGEST_HEAD, Reader, Side, Start, head, may_end},
    write::{request, response},
};
