//! Why a server could not start.

use std::{io, net::SocketAddr};

use tower::BoxError;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is it this machine's, and free?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The URL cannot be listened at.
    #[error("cannot listen at {url}")]
    ListenAt {
        /// The URL, without what is secret in it.
        url: String,
        /// Why not.
        source: BoxError,
    },
    /// Nobody could call the address that would be announced.
    #[error(
        "clients cannot call {address}: say in Server::endpoint at which address they reach this machine"
    )]
    Unreachable {
        /// The address that is listened on.
        address: SocketAddr,
    },
    /// The registry will never take the announcement.
    #[error("the server cannot be announced")]
    Announce(#[from] micro_discover::Error),
    /// A hook failed.
    #[error("what was to be done {moment} failed")]
    Hook {
        /// When it was to be done, as `before start`.
        moment: &'static str,
        /// Why it failed.
        source: BoxError,
    },
    /// Signals cannot be heard.
    #[error("this process cannot hear signals")]
    Signals(#[source] io::Error),
}
