//! The error of requests that are turned away to protect others.

use std::{fmt, time::Duration};

/// The request was turned away before anything was sent, since accepting it would only have made things
/// worse. Sending it again at once would, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Overloaded(pub(crate) Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Full { limit: u32 },
    QueueFull { waiting: u32 },
    Waited(Duration),
    Unready(Duration),
    Throttled,
    Broken(Duration),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "as many requests are under way as are allowed, {limit}"),
            Self::QueueFull { waiting } => {
                write!(f, "as many requests are waiting as are allowed, {waiting}")
            }
            Self::Waited(wait) => write!(f, "the request had to wait longer than {wait:?}"),
            Self::Unready(limit) => write!(f, "the service has not been ready for {limit:?}"),
            Self::Broken(left) if left.is_zero() => {
                write!(f, "the service fails, and another request finds out whether it still does")
            }
            Self::Broken(left) => write!(f, "the service fails, and is left alone for {left:?} more"),
            Self::Throttled => {
                write!(f, "the service turns away so many requests that this one was not sent")
            }
        }
    }
}
