//! The body of a request where it is read whole, instead of being passed on as it comes.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tower::BoxError;

use super::fault::Fault;

/// Why a body was not read whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    #[error("the body did not come within {0:?}")]
    Late(Duration),
    #[error("the body broke off: {0}")]
    Broken(BoxError),
}

/// All of `body`, which has `most` bytes at most and `within` to come.
pub(crate) async fn whole(body: Body, most: usize, within: Duration) -> Result<Bytes, Unread> {
    // One that says itself that it is too long need not come.
    if body.size_hint().lower() > most as u64 {
        return Err(Unread::TooLong(most));
    }
    match timeout(within, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLong(most)),
        Ok(Err(error)) => Err(Unread::Broken(error)),
        Err(_) => Err(Unread::Late(within)),
    }
}

impl Unread {
    /// What the face `id` answers over HTTP.
    pub(crate) fn fault(&self, id: &str) -> Fault {
        Fault::new(id, self.status(), self.to_string())
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<Unread> for Status {
    fn from(unread: Unread) -> Self {
        let words = unread.to_string();
        match unread {
            Unread::TooLong(_) => Self::resource_exhausted(words),
            Unread::Late(_) => Self::deadline_exceeded(words),
            Unread::Broken(_) => Self::invalid_argument(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_too_long_or_does_not_come_is_told_so() {
        let second = Duration::from_secs(1);
        assert_eq!(whole(Body::new("hello".to_owned()), 5, second).await.unwrap(), "hello");
        let long = whole(Body::new("hello".to_owned()), 4, second).await.unwrap_err();
        assert_eq!(long.fault("it").status(), StatusCode::PAYLOAD_TOO_LARGE);
        let nothing = stream::pending::<Result<Frame<Bytes>, Status>>();
        let late = whole(Body::new(StreamBody::new(nothing)), 5, second).await.unwrap_err();
        assert_eq!(late.to_string(), "the body did not come within 1s");
        assert_eq!(late.fault("it").status(), StatusCode::REQUEST_TIMEOUT);
    }
}
