//! Carries a request to a service and its answer back, as they come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use micro_balance::BrokenBody;
use micro_balance::classify::is_grpc;
use pin_project::pin_project;
use tokio::time::{self, Sleep};
use tonic::body::Body;

use super::ahead::Ahead;
use super::answered::{answered, failed, late};
use super::fault::Fault;
use super::forwarding::Forwarding;
use super::headers::clean_response;
use super::meter::Active;
use super::peer::Peer;
use super::prepare::prepare;
use super::step::Step;
use super::tunnel;
use super::upstream::{Upstream, Wire};

/// Passes `request` of `peer` on to `upstream`: streams both ways, and tunnels a WebSocket.
///
/// Path and query stay as they are; so does the host. What belongs to the client's connection is taken away, and the
/// client is named in `x-forwarded-for`. gRPC goes over HTTP/2, whatever `wire` says.
pub fn forward(
    upstream: &Arc<Upstream>,
    wire: Wire,
    mut request: Request<Body>,
    peer: &Peer,
    how: &Forwarding,
) -> Forward {
    let upgrade = tunnel::asked(&mut request);
    let grpc = is_grpc(request.headers());
    let (mut parts, body) = request.into_parts();
    if let Err(fault) = prepare(&mut parts, peer, how.id) {
        return Forward(State::Done(Some(fault.response())));
    }
    if let Some(client) = upgrade {
        let request = Request::from_parts(parts, Body::new(body.map_err(BrokenBody::new)));
        return Forward(State::Tunnel(open(upstream.clone(), request, *peer, client, how.clone()).boxed()));
    }
    let wire = if grpc { Wire::Http2 } else { wire };
    let active = upstream.meter().begin(parts.uri.path(), &parts.headers, &mut parts.extensions);
    let way = how.way(upstream, wire, grpc, peer);
    let step = match (grpc, body.is_end_stream()) {
        // A call that is here whole waits for no other; one that is not may go on for ever.
        (true, false) => match Ahead::so_far(body) {
            Ok(all) if all.is_all() => Step::sent(way.send(Request::from_parts(parts, Body::new(all)))),
            Ok(part) => Step::rated(way, Request::from_parts(parts, part)),
            Err(error) => {
                let mut active = active;
                return Forward(State::Done(Some(failed(error.into(), grpc, &mut active, how.id))));
            }
        },
        (_, true) => Step::sent(way.send(Request::from_parts(parts, body))),
        _ if Ahead::is_for(&body) => Step::Read { ahead: Ahead::new(body), then: Some((parts, way)) },
        _ => Step::rated(way, Request::from_parts(parts, body)),
    };
    let timeout = if grpc { None } else { Some(how.timeout) };
    Forward(State::Begun { step, timeout, sleep: None, grpc, active: Some(active), id: how.id })
}

/// Asks `upstream` to become a WebSocket too, and joins the two.
async fn open(
    upstream: Arc<Upstream>,
    mut request: Request<Body>,
    peer: Peer,
    client: tunnel::Client,
    how: Forwarding,
) -> Response<Body> {
    let refuse = |status, detail| Fault::new(how.id, status, detail).response();
    if !how.origins.may_connect(request.headers()) {
        return refuse(StatusCode::FORBIDDEN, "a page of another host may not open a WebSocket here");
    }
    let Some(permit) = how.tunnels.reserve() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "there are too many WebSockets");
    };
    tunnel::ask(request.headers_mut());
    let (mut parts, body) = request.into_parts();
    let mut active = upstream.meter().begin(parts.uri.path(), &parts.headers, &mut parts.extensions);
    let request = Request::from_parts(parts, body);
    let sending = how.way(&upstream, Wire::Http1, false, &peer).send(request);
    let mut response = match time::timeout(how.timeout, sending).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return failed(error, false, &mut active, how.id),
        Err(_) => return failed(late(&active, how.timeout), false, &mut active, how.id),
    };
    let Some(service) = tunnel::granted(&mut response) else {
        return answered(response, false, active, None, how.id);
    };
    active.answered(response.status(), response.headers());
    how.tunnels.open(permit, client, service, active);
    clean_response(response.headers_mut());
    tunnel::ask(response.headers_mut());
    response.map(|_| Body::empty())
}

/// Response of [`forward`].
#[pin_project]
pub struct Forward(#[pin] State);

#[pin_project(project = Project)]
#[allow(
    clippy::large_enum_variant,
    reason = "a request that is passed on, which most are, costs no allocation"
)]
enum State {
    Done(Option<Response<Body>>),
    Begun {
        #[pin]
        step: Step,
        timeout: Option<Duration>,
        #[pin]
        sleep: Option<Sleep>,
        grpc: bool,
        active: Option<Active>,
        id: &'static str,
    },
    Tunnel(BoxFuture<'static, Response<Body>>),
}

impl Future for Forward {
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        match self.project().0.project() {
            Project::Done(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Project::Tunnel(opening) => opening.poll_unpin(cx),
            Project::Begun { mut step, timeout, mut sleep, grpc, active, id } => {
                let reading = step.is_reading();
                if let Poll::Ready(result) = step.as_mut().poll(cx) {
                    let Some(mut active) = active.take() else { return Poll::Pending };
                    return Poll::Ready(match result {
                        Ok(response) => answered(response, *grpc, active, step.rate(), id),
                        Err(error) => failed(error, *grpc, &mut active, id),
                    });
                }
                let Some(timeout) = *timeout else { return Poll::Pending };
                if reading && !step.is_reading() {
                    // What the client took is not the service's time.
                    sleep.set(None);
                }
                if sleep.is_none() {
                    sleep.set(Some(time::sleep(timeout)));
                }
                let Some(mut sleep) = sleep.as_pin_mut() else { return Poll::Pending };
                ready!(sleep.as_mut().poll(cx));
                let later = step.moved_at().and_then(|moved| moved.checked_add(timeout));
                if let Some(later) = later.filter(|later| *later > sleep.deadline()) {
                    sleep.as_mut().reset(later);
                    ready!(sleep.poll(cx));
                }
                let Some(mut active) = active.take() else { return Poll::Pending };
                Poll::Ready(failed(step.late(&active, timeout), *grpc, &mut active, id))
            }
        }
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forward")
    }
}
