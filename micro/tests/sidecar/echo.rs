//! A gRPC service that is registered where the sidecar looks.

use std::time::Duration;

use micro_discover::{Endpoint, Service, open};
use tokio::runtime::Runtime;

use crate::peer::{Reflection, serve};
use crate::program::Place;

/// Serves `echo` for as long as the runtime is kept.
pub(crate) fn echo(place: &Place) -> Runtime {
    echo_in(&place.url())
}

/// The same in another registry.
pub(crate) fn echo_in(registry: &str) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let address = serve("echo", Reflection::V1).await;
        let record = Service::new("echo").endpoint(Endpoint::new("echo-1", address.parse().unwrap()));
        open(registry).unwrap().announce(&record, Duration::ZERO).await.unwrap();
    });
    runtime
}
