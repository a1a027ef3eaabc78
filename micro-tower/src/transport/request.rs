//! What a request may carry.

use bytes::Bytes;
use http_body::Body;
use tower::BoxError;

/// A body that can be sent: `tonic::body::Body`, and any other in whole [`Bytes`].
///
/// Implemented for every type that can.
pub trait RequestBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B> RequestBody for B where B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}
