//! Which requests may be sent twice.

use http::Request;

/// Marks a request that may be carried out more than once, by its presence in the extensions.
///
/// Without it a request may be repeated if its method is idempotent by
/// [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2): `GET`, `PUT`, `DELETE`, not `POST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeatable;

impl Repeatable {
    /// Whether `request` may be carried out more than once.
    pub fn is<B>(request: &Request<B>) -> bool {
        request.method().is_idempotent() || request.extensions().get::<Self>().is_some()
    }
}
