//! Why there is no schema, or not what was looked for in one.

use tonic::{Code, Status};
use tower::BoxError;

/// Why there is no schema, or no such method in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Descriptors break a rule of theirs, or a limit of ours.
    #[error("the descriptors cannot be used: {what}")]
    Invalid {
        /// The rule.
        what: String,
        /// What the parser says.
        #[source]
        source: Option<BoxError>,
    },
    /// A `.proto` file or one that it imports cannot be compiled.
    #[error("cannot compile {file}: {what}")]
    Compile {
        /// The file that was asked for.
        file: String,
        /// Where and why.
        what: String,
    },
    /// The server says nothing of its methods.
    #[error("the server does not answer reflection, neither v1 nor v1alpha")]
    NoReflection(#[source] Box<Status>),
    /// Reflection failed half way, or nobody was there to ask.
    #[error("asking the server for its methods by reflection failed")]
    Reflection(#[source] Box<Status>),
    /// There is no such method.
    #[error("there is no method {name:?}")]
    NoMethod {
        /// As it was asked for.
        name: String,
        /// The one that was perhaps meant, as `package.Service/Method`.
        like: Option<String>,
        /// Every method there is, in order.
        methods: Vec<String>,
    },
    /// Several services have such a method.
    #[error("the method {name:?} is one of several: {}", methods.join(", "))]
    Ambiguous {
        /// As it was asked for.
        name: String,
        /// Those it may be, as `package.Service/Method`.
        methods: Vec<String>,
    },
}

impl Error {
    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), source: None }
    }

    /// The gRPC status a gateway answers with.
    pub fn code(&self) -> Code {
        match self {
            Self::Reflection(status) => status.code(),
            Self::NoMethod { .. } | Self::NoReflection(_) => Code::Unimplemented,
            Self::Ambiguous { .. } => Code::InvalidArgument,
            Self::Invalid { .. } | Self::Compile { .. } => Code::Internal,
        }
    }
}
