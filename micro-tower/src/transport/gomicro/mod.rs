//! An endpoint that speaks go-micro's RPC over HTTP/1: gRPC requests become its messages, its answers a gRPC
//! response.

mod call;
mod open;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _};
use http::{Request, Response, header};
use micro_balance::Unsent;
use tokio::{sync::Semaphore, time::Instant};
use tonic::Status;
use tower::BoxError;

use self::{
    call::{Call, refusal},
    open::{Open, open},
};
use super::{body::Body, connect::Connector, request::RequestBody, target::Target};
use crate::{
    codec::frame::Frames,
    error::{Error, Phase},
    gomicro::{
        LONGEST,
        ask::{self, Ask, Dialect},
    },
};

/// The connections of an endpoint, and how it is spoken to.
pub(super) struct GoMicro {
    dialect: Dialect,
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
    max_idle: usize,
    idle_timeout: Duration,
    calls: AtomicU64,
}

struct Idle {
    connection: Open,
    since: Instant,
}

impl GoMicro {
    pub(super) fn new(dialect: Dialect, settings: &Connector) -> Self {
        Self {
            dialect,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(settings.http1_max_connections.min(Semaphore::MAX_PERMITS))),
            max_idle: settings.http1_max_idle,
            idle_timeout: settings.http1_idle_timeout,
            calls: AtomicU64::new(0),
        }
    }

    /// Makes a connection for the first call.
    pub(super) async fn connect(&self, settings: &Connector, target: &Target) -> Result<(), BoxError> {
        self.keep(open(settings, target).await?);
        Ok(())
    }

    fn keep(&self, connection: Open) {
        let mut idle = self.idle();
        if self.max_idle > 0 {
            if idle.len() >= self.max_idle {
                idle.remove(0);
            }
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn take(&self) -> Option<Open> {
        let mut idle = self.idle();
        while let Some(Idle { mut connection, since }) = idle.pop() {
            if since.elapsed() < self.idle_timeout && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the call that `request` is in gRPC. `unreachable` is called when no connection can be had; the error
    /// then hands the request back.
    pub(super) async fn send<B: RequestBody>(
        self: Arc<Self>,
        settings: Arc<Connector>,
        target: Target,
        request: Request<B>,
        unreachable: impl FnOnce() + Send,
    ) -> Result<Response<Body>, BoxError> {
        let permit = self.permits.clone().acquire_owned().await?;
        let declared = ask::is_stream(request.headers());
        let connection = match if declared { None } else { self.take() } {
            Some(connection) => connection,
            None => match open(&settings, &target).await {
                Ok(connection) => connection,
                Err(error) => {
                    unreachable();
                    let error = target.name().blame(Error::not_sent(Phase::Connect, error));
                    return Err(Unsent::new(request, error).into());
                }
            },
        };
        let service = settings.service.as_deref().unwrap_or_default();
        let (head, body) = request.into_parts();
        let mut requests = Frames::new(body, LONGEST);
        // What has said all at once is no stream, unless it says so: then it may wait for an answer to say anything.
        let (first, rest) = if declared {
            (None, Some(None))
        } else {
            let first = requests.next().await.transpose()?;
            (first, requests.next().now_or_never())
        };
        let stream = declared || !matches!(rest, Some(None));
        let seq = self.calls.fetch_add(1, Relaxed);
        let Some(ask) = Ask::new(self.dialect, service, head.uri.path(), &head.headers, seq, stream) else {
            return Ok(refusal(&Status::unimplemented("the path names no method")));
        };
        let json = head.headers.get(header::CONTENT_TYPE).cloned();
        let call = Call { home: self, target, ask, connection, _permit: permit };
        if !stream {
            return call.unary(first.unwrap_or_default(), json).await;
        }
        let second = rest.flatten().transpose()?;
        let early = first.into_iter().chain(second).collect();
        call.stream(early, requests, json).await
    }
}
