//! Serves what is said on one connection.
//!
//! Before its first head is whole a connection is its guard and little else; then it has the room that its protocol takes,
//! and none for the other.

use std::{
    future::{pending, ready},
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::{
    calls::{Calls, Fetching},
    guard::{Guard, Spoken},
    heads::{Heads, readable},
    health::Served,
    pace::Pace,
    prompt::Prompt,
    seldom::Seldom,
    settings::Limits,
    streams::Streams,
    timer::StillTimer,
};
use crate::gomicro::front;

/// How long a connection of HTTP/1 that is to end waits for a request that crosses its end: only an answer can tell the
/// client that there will be no other.
const CROSSING: Duration = Duration::from_millis(100);

/// How long a client that has never asked for anything may take to agree that its connection of HTTP/2 is over.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What is to be served on one connection.
pub(super) struct Session<S> {
    pub(super) service: Served<S>,
    pub(super) pace: Pace,
    /// Those that go beside its bytes, where there is such a way.
    pub(super) calls: Option<Calls>,
}

impl<S> From<Served<S>> for Session<S> {
    fn from(service: Served<S>) -> Self {
        let (service, pace) = service.paced();
        Self { service, pace, calls: None }
    }
}

/// What a connection is served under.
pub(super) struct Terms<P> {
    pub(super) limits: Arc<Limits>,
    /// Becomes true when the server ends.
    pub(super) closing: watch::Receiver<bool>,
    /// Kept until the connection has ended.
    pub(super) place: P,
}

/// Serves what is said on `io`: go-micro's RPC where that is wanted, and HTTP.
pub(super) fn serve<I, S, P>(io: I, session: Session<S>, terms: Terms<P>) -> BoxFuture<'static, ()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    Served<S>: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
    P: Send + 'static,
{
    if !terms.limits.wire {
        return http(io, session, terms);
    }
    Box::pin(async move {
        let (service, patience) = (session.service.clone(), terms.limits.header_timeout);
        let taken = Box::pin(front::take(io, service, patience, terms.closing.clone()));
        if let Some(io) = taken.await {
            http(io, session, terms).await;
        }
    })
}

/// What a connection takes is put where it stays before it is served: an `async` function moves it from one to the next, and
/// keeps room for it in each.
fn http<I, S, P>(io: I, session: Session<S>, terms: Terms<P>) -> BoxFuture<'static, ()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
    P: Send + 'static,
{
    let Session { service, pace, calls } = session;
    let Terms { limits, closing, place } = terms;
    let service = Box::new(Prompt::new(Fetching::new(service, calls.clone())));
    let mut guard = Box::new(Guard::new(io, &limits, pace.clone()));
    Box::pin(async move {
        let mut ending = pin!(Seldom::new(end(&pace, calls.as_ref(), &limits, closing)));
        let spoken = tokio::select! {
            biased;
            spoken = guard.spoken() => Ok(spoken),
            end = ending.as_mut() => Err(end),
        };
        let result = match spoken {
            Ok(spoken) => {
                let course = Course { end: ending, pace: &pace, limits: &limits };
                converse(guard, spoken, service, course).await
            }
            Err(end) => {
                // A request may cross the end here too.
                let first = Box::pin(timeout(CROSSING, guard.spoken())).await.unwrap_or(Ok(None));
                let course = Course { end: pin!(ready(end)), pace: &pace, limits: &limits };
                converse(guard, first, service, course).await
            }
        };
        told(result);
        drop(place);
    })
}

fn told(result: Result<(), BoxError>) {
    if let Err(error) = result {
        tracing::debug!(error, "a connection was closed");
    }
}

/// Serves what begins as `spoken`, if it does: in boxes of the size of its protocol, and of no other.
fn converse<'a, I, S>(
    guard: Box<Guard<I>>,
    spoken: io::Result<Option<Spoken>>,
    service: Box<Prompt<Fetching<Served<S>>>>,
    course: Course<'a>,
) -> BoxFuture<'a, Result<(), BoxError>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    let io = TokioIo::new(guard);
    match spoken {
        Ok(Some(Spoken::Http1)) => http1(io, service, course),
        Ok(Some(Spoken::Http2)) => http2(io, service, course),
        Ok(None) => Box::pin(ready(Ok(()))),
        Err(error) => Box::pin(ready(Err(error.into()))),
    }
}

fn http1<I, S>(
    io: TokioIo<Box<Guard<I>>>,
    service: Box<Prompt<Fetching<Served<S>>>>,
    course: Course<'_>,
) -> BoxFuture<'_, Result<(), BoxError>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    let mut builder = http1::Builder::new();
    let longest_head = course.limits.header_bytes as usize;
    // How long a head may take is the guard's to watch, which sees its first byte.
    builder.header_read_timeout(None).max_buf_size(longest_head.max(8 << 10) * 2);
    let connection = Box::pin(builder.serve_connection(io, service).with_upgrades());
    Box::pin(course.run(connection, true, |connection| connection.graceful_shutdown()))
}

fn http2<I, S>(
    io: TokioIo<Box<Guard<I>>>,
    service: Box<Prompt<Fetching<Served<S>>>>,
    course: Course<'_>,
) -> BoxFuture<'_, Result<(), BoxError>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    let &Limits { streams, header_bytes, ping_interval, ping_timeout, .. } = course.limits;
    let (running, timer) = (Streams::new(), StillTimer::new());
    let mut builder = http2::Builder::new(running.clone());
    builder
        .timer(timer.clone())
        .max_concurrent_streams(streams)
        .max_header_list_size(readable(header_bytes))
        .keep_alive_interval(ping_interval)
        .keep_alive_timeout(ping_timeout);
    let service = Heads::new(service, header_bytes);
    let connection = Box::pin(timer.over(running.with(builder.serve_connection(io, service))));
    // It agrees on its end with the client.
    Box::pin(course.run(connection, false, |timed| {
        timed.project().connection.project().connection.graceful_shutdown();
    }))
}

/// What a connection ends by, besides its client.
#[derive(Clone, Copy)]
enum End {
    /// It is over, and has so long to finish what it does.
    Over(Duration),
    /// The client takes nothing.
    Stuck,
}

/// How a connection goes.
struct Course<'a> {
    end: Pin<&'a mut (dyn Future<Output = End> + Send + 'a)>,
    pace: &'a Pace,
    limits: &'a Limits,
}

impl Course<'_> {
    /// Serves `connection` to its end, which `shut` tells it of when it is over, and for so long at most from then on.
    /// Before that it answers what may be `crossing` its end.
    async fn run<C>(
        self,
        mut connection: Pin<Box<C>>,
        crossing: bool,
        shut: fn(Pin<&mut C>),
    ) -> Result<(), BoxError>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let end = tokio::select! {
            biased;
            result = connection.as_mut() => return result.map_err(Into::into),
            end = self.end => end,
        };
        let End::Over(grace) = end else { return Err(self.pace.takes_nothing()) };
        // What comes only then takes no room before.
        Box::pin(async move {
            if crossing {
                self.pace.end();
                if let Ok(result) = timeout(CROSSING, connection.as_mut()).await {
                    return result.map_err(Into::into);
                }
            }
            shut(connection.as_mut());
            tokio::select! {
                result = connection => result.map_err(Into::into),
                () = self.pace.stuck(self.limits) => Err(self.pace.takes_nothing()),
                () = self.pace.silent(LAST_WORD) => Err("the client has never said anything".into()),
                () = after(grace) => Err("it was old, and is still in use".into()),
            }
        })
        .await
    }
}

/// Ends when the connection is over, or its client stuck: one future for both, as each request asks whether it has ended.
async fn end(pace: &Pace, calls: Option<&Calls>, limits: &Limits, closing: watch::Receiver<bool>) -> End {
    tokio::select! {
        biased;
        grace = over(pace, calls, limits, closing) => End::Over(grace),
        () = pace.stuck(limits) => End::Stuck,
    }
}

/// Ends when the connection is to end, for the server does, it is old or nothing was asked for too long, and what goes
/// beside its bytes has ended. Says how long it has then.
async fn over(
    pace: &Pace,
    calls: Option<&Calls>,
    limits: &Limits,
    mut closing: watch::Receiver<bool>,
) -> Duration {
    let (age, grace) = limits.age.unwrap_or((Duration::MAX, Duration::MAX));
    let grace = tokio::select! {
        // The server has a grace time of its own.
        _ = closing.wait_for(|closing| *closing) => Duration::MAX,
        () = pace.idle(limits) => Duration::MAX,
        () = after(about(age)) => grace,
    };
    if let Some(calls) = calls {
        calls.close();
        calls.ended().await;
    }
    grace
}

/// Give or take a tenth.
fn about(time: Duration) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * (0.9 + 0.2 * fastrand::f64())).unwrap_or(Duration::MAX)
}

/// Ends when that time has passed. Where there is no limit it takes no room: there are many connections.
async fn after(time: Duration) {
    match time {
        Duration::MAX => pending().await,
        time => Box::pin(sleep(time)).await,
    }
}
