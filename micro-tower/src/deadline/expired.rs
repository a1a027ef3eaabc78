//! The error of a deadline that has passed.

use std::fmt;

use tonic::Status;

use crate::error::Sent;

/// The deadline of a call has passed.
///
/// Its source is a [`Status`], so that tonic reports DEADLINE_EXCEEDED whatever lies in between.
#[derive(Debug)]
pub struct Expired {
    sent: Sent,
    status: Status,
}

impl Expired {
    pub(crate) fn before_sending() -> Self {
        Self::new(Sent::NotSent)
    }

    pub(crate) fn after_sending() -> Self {
        Self::new(Sent::MaybeSent)
    }

    fn new(sent: Sent) -> Self {
        let message = match sent {
            Sent::NotSent => "the deadline had passed before the request was sent",
            Sent::MaybeSent => "the deadline has passed",
        };
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
