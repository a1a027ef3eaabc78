//! Why a call failed.

use tonic::{Code, Status};
use tower::BoxError;

use crate::causes::chain;
use crate::codes::name;
use crate::schema;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the service can be asked is not known, or not this.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// What was to be sent is not what the method takes.
    #[error("the request is wrong")]
    Input(#[source] BoxError),
    /// The service answered with an error, or did not answer.
    #[error("{}", said(.0))]
    Status(Box<Status>),
    /// The answer cannot be shown.
    #[error("the answer is wrong")]
    Output(#[source] BoxError),
}

impl Error {
    /// The gRPC status it amounts to.
    pub fn code(&self) -> Code {
        match self {
            Self::Schema(error) => error.code(),
            Self::Input(_) => Code::InvalidArgument,
            Self::Status(status) => status.code(),
            Self::Output(_) => Code::Internal,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// What went wrong, in a line. A status speaks for itself, and says its cause again.
pub(crate) fn what(error: &Error) -> String {
    match error {
        Error::Schema(schema @ (schema::Error::NoReflection(status) | schema::Error::Reflection(status))) => {
            format!("{schema}: {}", said(status))
        }
        Error::Status(status) => said(status),
        other => chain(other),
    }
}

/// The code's name as in the specification, and the message.
pub(crate) fn said(status: &Status) -> String {
    let name = name(status.code());
    match status.message() {
        "" => name.to_owned(),
        message => format!("{name}: {message}"),
    }
}
