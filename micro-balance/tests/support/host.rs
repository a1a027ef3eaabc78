//! A host that answers by HTTP with a status.

use std::{
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use tower::{BoxError, Service};

/// The connection breaks.
pub const BREAKS: u16 = 0;
/// No answer ever comes.
pub const SILENT: u16 = 1;

/// Answers at once, with the status it was given last: 200 at first. [`BREAKS`] and [`SILENT`] are none.
#[derive(Clone, Debug)]
pub struct Host(Arc<AtomicU16>);

impl Host {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU16::new(200)))
    }

    pub fn set(&self, status: u16) {
        self.0.store(status, Relaxed);
    }
}

impl Service<Request<()>> for Host {
    type Response = Response<String>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let status = self.0.load(Relaxed);
        Box::pin(async move {
            match status {
                BREAKS => Err("connection reset by peer".into()),
                SILENT => pending().await,
                status => Ok(Response::builder().status(StatusCode::from_u16(status)?).body(String::new())?),
            }
        })
    }
}
