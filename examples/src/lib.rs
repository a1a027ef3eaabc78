//! What the example programs share: the greeter, compiled from its `.proto`, and a service that implements it.

pub mod broker;

/// The generated client and server of `proto/greeter.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto {
    tonic::include_proto!("greeter");
}

/// The services of gRPC's interoperability tests.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod testing {
    tonic::include_proto!("grpc.testing");
}

/// Load reports as Envoy and gRPC know them.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod xds {
    pub mod data {
        pub mod orca {
            pub mod v3 {
                tonic::include_proto!("xds.data.orca.v3");
            }
        }
    }
    pub mod service {
        pub mod orca {
            pub mod v3 {
                tonic::include_proto!("xds.service.orca.v3");
            }
        }
    }
}

/// What reflection says of [`testing`] and [`xds`].
pub const INTEROP_DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("interop");

use std::{
    io::IsTerminal as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use proto::{HelloRequest, HelloResponse, greeter_server::Greeter};
use tonic::{Request, Response, Status, Streaming};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// The header that tells which replica has answered.
pub const REPLICA: &str = "x-replica";

/// How many names one greeting takes.
const MOST: usize = 1000;

/// Says hello, after a delay that can be changed while it runs.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    /// Who says it.
    pub replica: String,
    delay_ms: Arc<AtomicU64>,
}

impl Hello {
    /// A greeter that answers at once.
    pub fn new(replica: impl Into<String>) -> Self {
        Self { replica: replica.into(), delay_ms: Arc::default() }
    }

    /// Makes every answer from now on take this long.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Relaxed);
    }
}

/// Greetings, one after another.
type Greetings = BoxStream<'static, Result<HelloResponse, Status>>;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        self.wait().await;
        self.answer(greet(&request.into_inner().name))
    }

    async fn hello_all(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloResponse>, Status> {
        let requests: Vec<_> = request.into_inner().take(MOST).try_collect().await?;
        self.wait().await;
        let names: Vec<_> = requests.into_iter().map(|request| request.name).collect();
        self.answer(greet(&names.join(" and ")))
    }

    type HelloThriceStream = Greetings;

    async fn hello_thrice(&self, request: Request<HelloRequest>) -> Result<Response<Greetings>, Status> {
        self.wait().await;
        let greeting = greet(&request.into_inner().name);
        self.answer(stream::repeat(greeting).take(3).map(Ok).boxed())
    }

    type HelloEachStream = Greetings;

    async fn hello_each(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Greetings>, Status> {
        self.wait().await;
        let each = |request: Result<HelloRequest, Status>| request.map(|request| greet(&request.name));
        self.answer(request.into_inner().map(each).boxed())
    }
}

impl Hello {
    async fn wait(&self) {
        let delay = self.delay_ms.load(Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
    }

    fn answer<T>(&self, message: T) -> Result<Response<T>, Status> {
        let mut response = Response::new(message);
        let replica =
            self.replica.parse().map_err(|_| Status::internal("the replica's name is no header"))?;
        response.metadata_mut().insert(REPLICA, replica);
        Ok(response)
    }
}

fn greet(name: &str) -> HelloResponse {
    HelloResponse { greeting: format!("Hello {name}") }
}

/// Writes warnings of the libraries to stderr, or what `RUST_LOG` asks for; in colour at a terminal, unless `NO_COLOR` is
/// set.
pub fn log() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(!plain && std::io::stderr().is_terminal()).init();
}

#[cfg(doctest)]
mod guide;

/// The README's code.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
