//! Carries a request to a service and its answer back, as they come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts,
};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use micro_balance::BrokenBody;
use micro_balance::classify::is_grpc;
use micro_balance::retry::RetryLayer;
use micro_tower::transport::{Rate, Rated};
use micro_tower::{Client, client};
use pin_project::pin_project;
use tokio::time::{self, Sleep};
use tonic::body::Body;
use tower::{BoxError, Service as _};

use super::ahead::{Ahead, Begun};
use super::body::Forwarded;
use super::failure::{Late, answer_failure};
use super::fault::Fault;
use super::headers::{clean_request, clean_response};
use super::meter::Active;
use super::origin::Origins;
use super::peer::{Peer, Said};
use super::tunnel::{self, Tunnels};
use super::upstream::{Upstream, Wire};
use super::whole::Unread;

/// How requests are passed on.
#[derive(Clone, Debug)]
pub struct Forwarding {
    /// The face that errors come from, such as `go.micro.api`.
    pub id: &'static str,
    /// How long a service may take to begin its answer, and a client before that to send the beginning of its body. gRPC
    /// calls say that themselves.
    pub timeout: Duration,
    /// Pages of other hosts that may open WebSockets.
    pub origins: Origins,
    /// The WebSockets there are.
    pub tunnels: Tunnels,
    /// What is sent again, where that is not what is usual.
    pub resend: Option<Resend>,
}

/// What of a request is sent again, and how long that may take.
#[derive(Clone, Debug)]
pub struct Resend {
    /// How long a gRPC call may take with all its attempts; as long as it says itself if there is nothing here.
    pub call: Option<Duration>,
    /// How long each attempt may take to begin its answer.
    pub attempt: Option<Duration>,
    /// What is sent again.
    pub retry: RetryLayer,
}

impl Forwarding {
    /// The client of `upstream` that does as is said here.
    pub fn client(&self, upstream: &Upstream, wire: Wire, grpc: bool) -> Client {
        self.own(upstream, wire, grpc).unwrap_or_else(|| upstream.client(wire).clone())
    }

    /// How a request gets to that client.
    fn way(&self, upstream: &Arc<Upstream>, wire: Wire, grpc: bool, peer: &Peer) -> Way {
        Way { upstream: upstream.clone(), wire, own: self.own(upstream, wire, grpc), peer: *peer }
    }

    /// The client that is not the usual one, where there are rules.
    fn own(&self, upstream: &Upstream, wire: Wire, grpc: bool) -> Option<Client> {
        let Resend { call, attempt, retry } = self.resend.as_ref()?;
        // Other requests end when their answers end: only its beginning is waited for.
        Some(upstream.client(wire).with_rules(call.filter(|_| grpc), *attempt, retry.clone()))
    }
}

/// The client that a request is sent by: its own where there are rules, or else the usual one of its service.
struct Way {
    upstream: Arc<Upstream>,
    wire: Wire,
    own: Option<Client>,
    peer: Peer,
}

impl Way {
    fn send(self, request: Request<Body>) -> client::ResponseFuture {
        match self.own {
            Some(mut client) => client.call(request),
            None => self.upstream.client(self.wire).send(request),
        }
    }

    /// Sends a request whose body may take its time, and gives way where others wait and it takes too long, or its client has
    /// more than his share.
    fn send_rated<B>(self, request: Request<B>) -> Step
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let client = self.peer.client(request.headers());
        let request = Rated::body_of(request, client);
        let rate = Some(request.body().rate());
        Step::Sent { response: self.send(request.map(Body::new)), rate }
    }
}

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
    if let Err(fault) = prepare(&mut parts, peer, how) {
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
            Ok(part) => way.send_rated(Request::from_parts(parts, part)),
            Err(error) => {
                let mut active = active;
                return Forward(State::Done(Some(failed(error.into(), grpc, &mut active, how.id))));
            }
        },
        (_, true) => Step::sent(way.send(Request::from_parts(parts, body))),
        _ if Ahead::is_for(&body) => Step::Read { ahead: Ahead::new(body), then: Some((parts, way)) },
        _ => way.send_rated(Request::from_parts(parts, body)),
    };
    let timeout = if grpc { None } else { Some(how.timeout) };
    Forward(State::Begun { step, timeout, sleep: None, grpc, active: Some(active), id: how.id })
}

/// Makes a request of a client one of ours.
fn prepare(parts: &mut Parts, peer: &Peer, how: &Forwarding) -> Result<(), Fault> {
    let refuse = |status, detail| Err(Fault::new(how.id, status, detail));
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "this method is not passed on");
    }
    if !settle_host(parts) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the request does not say which host it is for, or says it twice",
        );
    }
    if parts.version == Version::HTTP_2 && !is_grpc(&parts.headers) && !is_clean(&parts.headers) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the request has headers that others could read in another way",
        );
    }
    let said = Said::of(&parts.headers);
    // Before they are taken away, the connection's headers may not be forged into those that are added.
    if said.to_us {
        clean_request(&mut parts.headers);
    }
    if !peer.introduce(&mut parts.headers, &said) {
        return refuse(
            StatusCode::LOOP_DETECTED,
            "the request has come through too many proxies: does it go in a circle?",
        );
    }
    let path = std::mem::take(&mut parts.uri).into_parts().path_and_query;
    parts.uri = path.map_or_else(Uri::default, Uri::from);
    parts.extensions.clear();
    Ok(())
}

/// Whether HTTP/1 would have let headers of HTTP/2 pass: those of one length, without blanks around them (RFC 9113,
/// section 8.2.1), and none that programs behind CGI take for another.
fn is_clean(headers: &HeaderMap) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut lengths = 0;
    headers.iter().all(|(name, value)| {
        lengths += usize::from(name == header::CONTENT_LENGTH);
        let value = value.as_bytes();
        let alike = matches!(name.as_str(), "content_length" | "transfer_encoding");
        lengths < 2 && !alike && !blank(value.first()) && !blank(value.last())
    })
}

/// Leaves one `host`, whether the client said it in the target or in a header. False where it did not, or says two.
fn settle_host(parts: &mut Parts) -> bool {
    let mut said = parts.headers.get_all(header::HOST).iter();
    match (parts.uri.authority(), said.next(), said.next()) {
        (_, _, Some(_)) => false,
        (Some(authority), Some(host), None) => {
            host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
        }
        (Some(authority), None, None) => {
            let Ok(host) = HeaderValue::from_str(authority.as_str()) else { return false };
            let clean = !authority.as_str().contains('@');
            parts.headers.insert(header::HOST, host);
            clean
        }
        (None, Some(host), None) => !host.is_empty() || parts.version < Version::HTTP_11,
        (None, None, None) => parts.version < Version::HTTP_11,
    }
}

/// Asks `upstream` to become a WebSocket too, and joins the two.
async fn open(
    upstream: Arc<Upstream>,
    mut request: Request<Body>,
    peer: Peer,
    client: hyper::upgrade::OnUpgrade,
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

/// Makes an answer of a service one of ours.
fn answered(
    response: Response<client::ResponseBody>,
    grpc: bool,
    mut active: Active,
    rate: Option<Rate>,
    id: &'static str,
) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let detail = "the service switched protocols, and was not asked to";
        let response = Fault::new(id, StatusCode::BAD_GATEWAY, detail).response();
        active.answered(response.status(), response.headers());
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match Forwarded::new(body, grpc) {
        Ok(body) => body,
        Err(error) => return failed(error, grpc, &mut active, id),
    };
    active.answered(head.status, &head.headers);
    clean_response(&mut head.headers);
    // What the client hears is ours: it may keep a connection that the service's HTTP/1.0 would have closed.
    head.version = Version::HTTP_11;
    Response::from_parts(head, Body::new(body.of(active, rate)))
}

fn late(active: &Active, within: Duration) -> BoxError {
    Late { service: active.service().clone(), within }.into()
}

fn failed(error: BoxError, grpc: bool, active: &mut Active, id: &'static str) -> Response<Body> {
    let response = answer_failure(id, error, grpc);
    active.answered(response.status(), response.headers());
    response
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

#[pin_project(project = StepProject)]
#[allow(clippy::large_enum_variant, reason = "the same")]
enum Step {
    /// No service has it before the beginning of its body is here.
    Read { ahead: Ahead, then: Option<(Parts, Way)> },
    Sent {
        #[pin]
        response: client::ResponseFuture,
        /// How its body comes, where that may take its time.
        rate: Option<Rate>,
    },
}

impl Step {
    fn sent(response: client::ResponseFuture) -> Self {
        Self::Sent { response, rate: None }
    }

    /// Ends once the service has answered. An error may be the client's own.
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<client::ResponseBody>, BoxError>> {
        if let StepProject::Read { ahead, then } = self.as_mut().project() {
            let begun = ready!(ahead.poll(cx))?;
            let Some((parts, way)) = then.take() else { return Poll::Pending };
            self.set(match begun {
                Begun::Whole(body) => Self::sent(way.send(Request::from_parts(parts, body))),
                Begun::Part(rest) => way.send_rated(Request::from_parts(parts, rest)),
            });
        }
        match self.project() {
            StepProject::Sent { response, rate } => {
                let gave_way = |error| rate.as_ref().and_then(Rate::gave_way).unwrap_or(error);
                response.poll(cx).map_err(gave_way)
            }
            StepProject::Read { .. } => Poll::Pending,
        }
    }

    /// How the body of the request comes, where that may take its time.
    fn rate(self: Pin<&mut Self>) -> Option<Rate> {
        match self.project() {
            StepProject::Sent { rate, .. } => rate.take(),
            StepProject::Read { .. } => None,
        }
    }

    fn is_reading(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// Why there is no answer of `service` after such a time.
    fn late(&self, active: &Active, within: Duration) -> BoxError {
        match self {
            Self::Sent { rate, .. } if !rate.as_ref().is_some_and(Rate::is_awaited) => late(active, within),
            Self::Read { .. } | Self::Sent { .. } => Unread::Late(within).into(),
        }
    }
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
                let Some(sleep) = sleep.as_pin_mut() else { return Poll::Pending };
                ready!(sleep.poll(cx));
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
