//! Settings that nobody should choose: a wait that is too long only waits longer, and none is none.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Response;
use micro_balance::{
    Ejection,
    health::{GrpcCheck, HealthCheck},
    retry::RetryLayer,
};
use micro_discover::{Memory, Service};
use micro_tower::{
    Client, Server,
    transport::{Connector, HttpVersion},
};
use peer::request;
use tokio::{sync::oneshot, time::timeout};
use tonic::body::Body;
use tower::service_fn;

fn server(wait: Duration) -> Server {
    Server::new()
        .ttl(wait)
        .header_timeout(wait)
        .stall_timeout(wait)
        .idle_timeout(wait)
        .ping(Some(wait), wait)
        .max_connection_age(wait, wait)
        .grace(wait)
        .propagation(Duration::ZERO)
}

fn connector(wait: Duration, version: HttpVersion) -> Connector {
    Connector::new()
        .http_version(version)
        .connect_timeout(wait)
        .tcp_keepalive(Some(wait))
        .ping_interval(Some(wait))
        .ping_timeout(wait)
        .http1_idle_timeout(wait)
}

fn client(wait: Duration, registry: &Memory, version: HttpVersion) -> Client {
    let health = HealthCheck::default()
        .interval(wait)
        .unhealthy_interval(wait)
        .healthy_edge_interval(wait)
        .unhealthy_edge_interval(wait)
        .idle_interval(wait)
        .timeout(wait)
        .initial_jitter(Duration::ZERO);
    Client::builder("it", Arc::new(registry.clone()))
        .connector(connector(wait, version))
        .keep_when_empty(wait)
        .timeout(wait)
        .attempt_timeout(wait)
        .failfast(wait)
        .metrics(wait)
        .retry(RetryLayer::new().look(wait).whole_timeout(wait))
        .ejection(Ejection::default().interval(wait).base(wait).max(wait).jitter(wait))
        .health_check(health, GrpcCheck::new(""))
        .build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_setting_is_too_long_or_too_short() {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counting, usual) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        counting.fetch_add(1, SeqCst);
        usual(panic);
    }));
    let waits = [Duration::MAX, Duration::ZERO, Duration::from_nanos(1)];
    for (wait, version) in waits
        .into_iter()
        .flat_map(|wait| [HttpVersion::Http1, HttpVersion::Http2].map(|version| (wait, version)))
    {
        let registry = Memory::default();
        let (announce, announced) = oneshot::channel();
        let server = server(wait)
            .listen("http://127.0.0.1:0")
            .announce(Arc::new(registry.clone()), Service::new("it"))
            .after_start(async || announce.send(()).map_err(|()| "nobody waits".into()));
        let bound = server.bind().await.unwrap();
        let (stop, told) = oneshot::channel::<()>();
        let answer = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
        let running = tokio::spawn(bound.serve_until(answer, async { drop(told.await) }));
        timeout(Duration::from_secs(10), announced).await.expect("a server starts").unwrap();
        let client = client(wait, &registry, version);
        for _ in 0..5 {
            let answered = timeout(Duration::from_secs(10), client.send(request("/", "x"))).await;
            let answered = answered.expect("a call ends");
            assert!(answered.is_ok() || wait != Duration::MAX, "{answered:?}");
        }
        drop(client);
        let _ = stop.send(());
        timeout(Duration::from_secs(10), running).await.expect("a server ends").unwrap().unwrap();
        assert_eq!(panics.load(SeqCst), 0, "{wait:?}, {version:?}");
    }
}
