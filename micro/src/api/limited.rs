//! Holds the requests of a route to its limits.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response, StatusCode};
use micro_balance::classify::is_grpc;
use micro_balance::{Answer as _, Guard, Http};
use tonic::Status;
use tonic::body::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use super::policy::Policy;
use crate::proxy::{Fault, Kept, Peer, answer_failure};

/// What `answer` answers `request` of `peer`, if the limits of `policy` let it through. A request counts to the end of its
/// answer's body.
pub(super) fn limited<F, R>(
    policy: &Policy,
    peer: &Peer,
    mut request: Request<Body>,
    answer: F,
) -> BoxFuture<'static, Response<Body>>
where
    F: Fn(Request<Body>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let grpc = is_grpc(request.headers());
    let Some(clients) = &policy.clients else { return of_all(policy, grpc, request, answer) };
    match clients.take(peer.sender(request.headers())) {
        Ok(place) => {
            let place = Kept::new(place);
            request.extensions_mut().insert(place.clone());
            let answered = of_all(policy, grpc, request, answer);
            answered.map(|response| Http.hold(response, Holds(place)).map(Body::new)).boxed()
        }
        Err(_) => ready(refused(policy.id(), grpc)).boxed(),
    }
}

/// Keeps the place of a client until the answer has ended.
struct Holds(#[allow(dead_code, reason = "it is kept, and not looked at")] Kept);

impl Guard for Holds {}

/// What a client is told who has all that it may have.
fn refused(id: &'static str, grpc: bool) -> Response<Body> {
    let why = "this client has as many requests under way here as it may have";
    match grpc {
        true => Status::resource_exhausted(why).into_http(),
        false => Fault::new(id, StatusCode::TOO_MANY_REQUESTS, why).response(),
    }
}

/// The same by the limits that hold for all clients together.
fn of_all<F, R>(
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
