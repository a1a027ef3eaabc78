//! The head of a request, as policies may read it.

use http::{Extensions, HeaderMap};

/// What a request says of itself beside its body.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What layers above have put there.
    pub extensions: &'a Extensions,
}
