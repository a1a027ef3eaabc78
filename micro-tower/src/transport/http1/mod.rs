//! The HTTP/1 connections of one endpoint, one request at a time on each.
//!
//! A request that is short and all there, as most are, is written and its answer read by whoever waits for it (`exchange.rs`).
//! A longer body may have to go on while nobody reads the answer, so it goes over a connection that has a task, which is
//! hyper's (`tasked.rs`); so does what may become another protocol.

mod chunked;
mod exchange;
mod head;
mod incoming;
mod length;
mod pool;
#[cfg(any(test, fuzzing))]
mod probe;
mod reading;
mod request;
mod sending;
mod tasked;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body as _;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::OwnedSemaphorePermit;
use tower::BoxError;

pub(super) use self::incoming::Incoming;
#[cfg(any(test, fuzzing))]
pub(crate) use self::probe::probe;
use self::{
    exchange::{Answer, Exchange},
    incoming::{Home, Place},
    pool::{Connection, Pool},
    request::{fits, write},
    sending::Sending,
    tasked::{Lent, hand_back, start, unsent},
};
use super::{
    begun::Begun,
    connect::{Connector, HttpVersion},
    io::Io,
    rate::Rate,
    request::RequestBody,
    room::Room,
    target::{Name, Target},
};
use crate::error::Phase;

/// Idle connections, and permission to open more.
pub(super) struct Http1<B> {
    settings: Arc<Connector>,
    target: Arc<Target>,
    /// Whether the endpoint speaks HTTP/1, and could be reached when it was last tried.
    open: AtomicBool,
    pool: Pool<B>,
    room: Room,
}

impl<B: RequestBody> Http1<B> {
    pub(super) fn new(settings: Arc<Connector>, target: Arc<Target>) -> Self {
        Self {
            open: AtomicBool::new(false),
            pool: Pool::new(&settings),
            room: Room::new(settings.http1_max_connections),
            settings,
            target,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Notes whether it could be reached.
    pub(super) fn reached(&self, reached: bool) {
        self.open.store(reached, Relaxed);
    }

    /// Keeps a connection that was made.
    pub(super) fn insert(&self, io: Io) {
        self.pool.put(Connection::Bare(Box::new(io)), true);
        self.reached(true);
    }

    /// Sends `request` on an idle connection, or else on a new one.
    ///
    /// Where one is idle the request is on its way when this returns. Where a new one cannot be had the error hands the
    /// request back, and this is not open any more.
    pub(super) fn send(
        self: Arc<Self>,
        mut request: Request<B>,
    ) -> BoxFuture<'static, Result<Response<Incoming>, BoxError>> {
        let rate = request.extensions().get::<Rate>();
        let rate = rate.filter(|rate| !rate.is_over() && !request.body().is_end_stream()).cloned();
        self.target.direct(&mut request);
        let mut request = request.map(Begun::untouched);
        let free = if rate.is_none() { self.room.free() } else { None };
        let Some(permit) = free else {
            return Box::pin(async move {
                let permit = self.room.place(rate).await?;
                self.send_by(permit, request).await
            });
        };
        // Mostly there is a connection: then what waits for the answer is small, and the request is not moved around with it.
        let fits = fits(&request);
        let idle = self.pool.take(fits.is_none());
        match idle.map(|idle| self.way(idle, &mut request, fits)) {
            Some(Ok(Way::Bare(sending))) => Box::pin(self.answer(sending, request, permit)),
            Some(Ok(Way::Tasked(mut sender, needed))) => {
                let answer = sender.try_send_request(request);
                Box::pin(async move {
                    let failed = match answer.await {
                        Ok(response) => {
                            return Ok(Lent::to(self, (sender, needed), permit, response));
                        }
                        Err(failed) => failed,
                    };
                    let request = unsent(failed, true, &self.target)?;
                    Box::pin(self.send_by(permit, request)).await
                })
            }
            Some(Err(_closed)) => Box::pin(self.send_by(permit, request)),
            None => Box::pin(self.send_by(permit, request)),
        }
    }

    /// The same for one that has its place.
    async fn send_by(
        self: Arc<Self>,
        permit: OwnedSemaphorePermit,
        mut request: Request<Begun<B>>,
    ) -> Result<Response<Incoming>, BoxError> {
        loop {
            let fits = fits(&request);
            let idle = self.pool.take(fits.is_none());
            let reused = idle.is_some();
            let connection = match idle {
                Some(idle) => Ok(idle),
                // In a box of its own: it is made seldom, and takes more room than all else here.
                None => Box::pin(open(&self.settings, &self.target)).await,
            };
            let way = match connection {
                Ok(connection) => self.way(connection, &mut request, fits),
                Err(error) => {
                    self.reached(false);
                    return Err(hand_back(request, Phase::Connect, error, &self.target));
                }
            };
            match way {
                Ok(Way::Bare(sending)) => return self.answer(sending, request, permit).await,
                Ok(Way::Tasked(mut sender, needed)) => match sender.try_send_request(request).await {
                    Ok(response) => return Ok(Lent::to(self, (sender, needed), permit, response)),
                    Err(failed) => request = unsent(failed, reused, &self.target)?,
                },
                Err(_closed) if reused => {}
                Err(error) => return Err(hand_back(request, Phase::Send, error, &self.target)),
            }
        }
    }

    /// How `request` takes `connection`: it is on its way there where it `fits` and its body is there, and else in need of a
    /// task.
    fn way(
        &self,
        connection: Connection<B>,
        request: &mut Request<Begun<B>>,
        fits: Option<usize>,
    ) -> Result<Way<B>, BoxError> {
        let io = match connection {
            Connection::Bare(io) => io,
            Connection::Tasked(sender) => return Ok(Way::Tasked(sender, fits.is_none())),
        };
        let written = fits.and_then(|length| {
            if request.body().is_end_stream() {
                return Some(write(request, length, b""));
            }
            request.body_mut().begin();
            request.body().whole().map(|body| write(request, length, body))
        });
        Ok(match written {
            Some(written) => Way::Bare(Sending::begin(io, written)?),
            None => Way::Tasked(start(*io, &self.settings)?, true),
        })
    }

    fn answer(
        self: Arc<Self>,
        sending: Sending,
        request: Request<Begun<B>>,
        permit: OwnedSemaphorePermit,
    ) -> Answer {
        let most = self.settings.most_head();
        Answer::to(Exchange::new(sending, request, most, Place { home: self, _permit: permit }))
    }
}

/// How a request goes over its connection.
enum Way<B> {
    Bare(Sending),
    /// Of a connection with a task; and whether the request has need of that.
    Tasked(SendRequest<Begun<B>>, bool),
}

async fn open<B>(settings: &Connector, target: &Target) -> Result<Connection<B>, BoxError> {
    let connecting = async {
        let (io, version) = settings.dial(target).await?;
        if version == HttpVersion::Http2 {
            return Err("the peer has changed from HTTP/1 to HTTP/2".into());
        }
        Ok(Connection::Bare(Box::new(io)))
    };
    tokio::time::timeout(settings.connect_timeout, connecting).await?
}

impl<B: RequestBody> Home for Http1<B> {
    fn put(&self, io: Box<Io>) {
        self.pool.put(Connection::Bare(io), true);
    }

    fn name(&self) -> &Name {
        self.target.name()
    }
}
