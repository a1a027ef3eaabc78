//! Holds the requests of a route to its limits.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use super::policy::Policy;
use crate::proxy::answer_failure;

/// What `answer` answers `request`, if the limits of `policy` let it through. A request counts to the end of its answer's body.
pub(super) fn limited<F, R>(
    policy: &Policy,
    grpc: bool,
    request: Request<Body>,
    answer: F,
) -> BoxFuture<'static, Response<Body>>
where
    F: Fn(Request<Body>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let answer = service_fn(move |request| answer(request).map(Ok::<_, BoxError>));
    // Two layers that may not be there make four services, which have one type only in a box.
    let answer: BoxCloneService<Request<Body>, Response<Body>, BoxError> = match &policy.limit {
        Some(limit) => BoxCloneService::new(limit.layer(answer).map_response(|answer| answer.map(Body::new))),
        None => BoxCloneService::new(answer),
    };
    let id = policy.id();
    let told = move |answered: Result<Response<Body>, BoxError>| {
        answered.unwrap_or_else(|error| answer_failure(id, error, grpc))
    };
    match &policy.throttle {
        Some(throttle) => {
            let throttled = throttle.layer(answer).map_response(|answer| answer.map(Body::new));
            throttled.oneshot(request).map(told).boxed()
        }
        None => answer.oneshot(request).map(told).boxed(),
    }
}
