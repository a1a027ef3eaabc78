//! The head of a request, as policies may read it.

use http::{Extensions, HeaderMap, Request, Uri};

/// What a request says of itself beside its body.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Parts<'a> {
    /// Where it goes.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What layers above have put there.
    pub extensions: &'a Extensions,
}

impl<'a> Parts<'a> {
    /// Those of `request`.
    #[inline]
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self { uri: request.uri(), headers: request.headers(), extensions: request.extensions() }
    }
}
