//! The error of a deadline that has passed.

use std::{fmt, sync::Arc};

use tonic::Status;

use crate::error::Sent;

/// The deadline of a call has passed.
///
/// Says what was waited for where a balancer within told that, see [`last_words`](micro_balance::last_words).
///
/// Its source is a [`Status`], so that tonic reports DEADLINE_EXCEEDED whatever lies in between.
#[derive(Debug)]
pub struct Expired {
    sent: Sent,
    status: Status,
}

impl Expired {
    pub(crate) fn before_sending() -> Self {
        Self::new(Sent::NotSent, "the deadline had passed before the request was sent")
    }

    pub(crate) fn after_sending() -> Self {
        Self::new(Sent::MaybeSent, "the deadline has passed")
    }

    /// After the request may have been sent; says what was waited for, if that is known.
    pub(crate) fn waiting_for(what: Option<Arc<str>>) -> Self {
        match what {
            Some(what) => Self::new(Sent::MaybeSent, format!("the deadline has passed: {what}")),
            None => Self::after_sending(),
        }
    }

    fn new(sent: Sent, message: impl Into<String>) -> Self {
        Self { sent, status: Status::deadline_exceeded(message) }
    }

    /// Whether the request may have been sent.
    pub fn sent(&self) -> Sent {
        self.sent
    }
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.message())
    }
}

impl std::error::Error for Expired {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.status)
    }
}
