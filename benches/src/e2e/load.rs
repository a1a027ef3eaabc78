//! Calls from many tasks at once, through any client.

use std::{fmt, time::Instant};

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tonic::{
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
};
use tower::BoxError;

use super::proto::{Payload, echo_client::EchoClient};

/// One in so many calls is timed: asking for the time is not free.
const TIMED: usize = 8;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Calls at the same time.
    pub(super) tasks: usize,
    /// Calls of each task, one after another.
    pub(super) each: usize,
    /// Bytes of each request, and of its answer.
    pub(super) payload: usize,
}

impl Load {
    pub(super) fn calls(&self) -> usize {
        self.tasks * self.each
    }
}

/// A client under test.
pub(super) trait Client: Send {
    /// Makes all calls of `load`; gives the nanoseconds that some of them took.
    fn run(&self, load: Load) -> BoxFuture<'_, Result<Vec<u64>, BoxError>>;
}

/// A generated client over some service.
#[derive(Debug)]
pub(super) struct Over<T>(pub(super) T);

impl<T> Client for Over<T>
where
    T: GrpcService<Body, Future: Send> + Clone + Send + Sync + 'static,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    fn run(&self, load: Load) -> BoxFuture<'_, Result<Vec<u64>, BoxError>> {
        Box::pin(async move {
            let mut tasks = JoinSet::new();
            for _ in 0..load.tasks {
                tasks.spawn(call(EchoClient::new(self.0.clone()), load));
            }
            let mut nanos = Vec::new();
            for times in tasks.join_all().await {
                nanos.extend(times?);
            }
            nanos.sort_unstable();
            Ok(nanos)
        })
    }
}

/// A client and what it is called in the table.
pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) client: Box<dyn Client>,
}

impl Mode {
    pub(super) fn new(name: &'static str, client: impl Client + 'static) -> Self {
        Self { name, client: Box::new(client) }
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

async fn call<T>(mut client: EchoClient<T>, load: Load) -> Result<Vec<u64>, BoxError>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    let request = Payload { data: vec![7; load.payload] };
    let mut times = Vec::with_capacity(load.each / TIMED + 1);
    for number in 0..load.each {
        let started = (number % TIMED == 0).then(Instant::now);
        let answer = client.unary(request.clone()).await?.into_inner();
        if let Some(started) = started {
            times.push(u64::try_from(started.elapsed().as_nanos())?);
        }
        if answer.data.len() != load.payload {
            return Err(format!("{} bytes came back of {}", answer.data.len(), load.payload).into());
        }
    }
    Ok(times)
}
