//! Services behind the gateway, announced in its registry.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use micro_discover::{Endpoint, Registry, Service as Record, open};
use micro_tower::Server;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tower::service_fn;

use crate::program::Place;

/// Services that run until this is dropped.
pub(crate) struct Services {
    pub(crate) runtime: Runtime,
    pub(crate) registry: Arc<dyn Registry>,
}

impl Services {
    pub(crate) fn new(place: &Place) -> Self {
        Self::over(&place.url())
    }

    /// Services of the registry that `url` names.
    pub(crate) fn over(url: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let registry = open(url).unwrap();
        drop(_inside);
        Self { runtime, registry }
    }

    /// Serves `handle` as the service `record`, which is announced.
    pub(crate) fn serve<F, R>(&self, record: Record, handle: F) -> SocketAddr
    where
        F: Fn(Request<Body>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        self.start(Server::new(), record, handle)
    }

    /// The same, without the server's own answers to health checks.
    pub(crate) fn serve_raw<F, R>(&self, record: Record, handle: F) -> SocketAddr
    where
        F: Fn(Request<Body>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        self.start(Server::new().health(false), record, handle)
    }

    pub(crate) fn start<F, R>(&self, server: Server, record: Record, handle: F) -> SocketAddr
    where
        F: Fn(Request<Body>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let server = server.announce(self.registry.clone(), record).propagation(Duration::ZERO);
        let service = service_fn(move |request| {
            let answer = handle(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let (tell, told) = std::sync::mpsc::channel();
        let server = server.after_start(move || async move {
            tell.send(()).unwrap();
            Ok(())
        });
        let bound = self.runtime.block_on(server.bind()).unwrap();
        let address = bound.local_address();
        self.runtime.spawn(bound.serve_until(service, std::future::pending()));
        told.recv_timeout(Duration::from_secs(30)).unwrap();
        address
    }

    /// Announces an endpoint at `address`, where a test listens itself.
    pub(crate) fn announce(&self, name: &str, address: SocketAddr) {
        let endpoint = Endpoint::new(format!("{name}-{address}"), address.to_string().parse().unwrap());
        let record = Record::new(name).endpoint(endpoint);
        self.runtime.block_on(self.registry.announce(&record, Duration::ZERO)).unwrap();
    }

    /// Has the registry say that nobody is there, whoever runs.
    pub(crate) fn forget(&self, name: &str) {
        self.runtime.block_on(async {
            for record in self.registry.get(name).await.unwrap() {
                self.registry.withdraw(&record).await.unwrap();
            }
        });
    }

    /// A service that answers with the line and the headers of its request.
    pub(crate) fn mirror(&self, name: &str) -> SocketAddr {
        let record = Record::new(name);
        let name = name.to_owned();
        self.serve(record, move |request| {
            let mut text = format!("{name}: {} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                text += &format!("{name}: {}\n", value.to_str().unwrap_or("?"));
            }
            async move { Response::builder().header("x-backend", "mirror").body(Body::new(text)).unwrap() }
        })
    }

    /// A service that sends back what comes, as it comes.
    pub(crate) fn echo(&self, name: &str) -> SocketAddr {
        self.serve(Record::new(name), |request| async move { Response::new(request.into_body()) })
    }
}

/// A body of `frames` and then `trailers`.
pub(crate) fn grpc_body(frames: Vec<Bytes>, trailers: &[(&'static str, &'static str)]) -> Body {
    let mut map = http::HeaderMap::new();
    for (name, value) in trailers {
        map.insert(*name, value.parse().unwrap());
    }
    let frames = frames.into_iter().map(Frame::data).chain([Frame::trailers(map)]);
    Body::new(StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>))).boxed())
}
