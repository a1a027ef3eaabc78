//! What the example programs share: the greeter, compiled from its `.proto`, and a service that implements it.

/// The generated client and server of `proto/greeter.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto {
    tonic::include_proto!("greeter");
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use proto::{HelloRequest, HelloResponse, greeter_server::Greeter};
use tonic::{Request, Response, Status};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// The header that tells which replica has answered.
pub const REPLICA: &str = "x-replica";

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

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        let delay = self.delay_ms.load(Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let greeting = format!("Hello {}", request.into_inner().name);
        let mut response = Response::new(HelloResponse { greeting });
        let replica =
            self.replica.parse().map_err(|_| Status::internal("the replica's name is no header"))?;
        response.metadata_mut().insert(REPLICA, replica);
        Ok(response)
    }
}

/// Writes warnings of the libraries to stderr, or what `RUST_LOG` asks for.
pub fn log() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// The README's code.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
