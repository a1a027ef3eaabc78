//! Calls that are carried out here rather than passed on, counted like those that are.

use std::future::Future;

use http::{Request, Response};
use micro_balance::{Answer as _, Http};
use tonic::body::Body;

use super::upstream::Upstream;

/// Carries out `request` by `carry`, counted as one to `method` of `upstream` until its answer ends. Where the balancer is
/// to say where it goes, that stands in the extensions of what `carry` gets.
pub(crate) async fn metered<F>(
    upstream: &Upstream,
    method: &str,
    request: Request<Body>,
    carry: impl FnOnce(Request<Body>) -> F,
) -> Response<Body>
where
    F: Future<Output = Response<Body>>,
{
    let (mut parts, body) = request.into_parts();
    let mut active = upstream.meter().begin(method, &parts.headers, &mut parts.extensions);
    let response = carry(Request::from_parts(parts, body)).await;
    active.answered(response.status(), response.headers());
    Http.hold(response, active).map(Body::new)
}
