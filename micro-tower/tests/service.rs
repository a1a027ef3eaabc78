//! A service as a whole: it finds others, serves, and does what it was told around that.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use micro_discover::{Memory, Registry};
use micro_tower::{Service, deadline::Deadline, metadata::Metadata};
use peer::{request, text};
use tokio::sync::oneshot;
use tonic::body::Body;
use tower::service_fn;

fn service(name: &str, registry: &Memory) -> micro_tower::service::Builder {
    Service::builder(name)
        .registry(Arc::new(registry.clone()))
        .server(|server| server.propagation(Duration::ZERO))
}

#[tokio::test]
async fn hooks_run_in_order_around_a_life() {
    let registry = Memory::default();
    let said = Arc::new(Mutex::new(Vec::new()));
    let say = |word: &'static str| {
        let (said, registry) = (said.clone(), registry.clone());
        move || async move {
            let found = registry.get("greeter").await.unwrap();
            let announced = found.iter().any(|service| !service.endpoints.is_empty());
            said.lock().unwrap().push((word, announced));
            Ok(())
        }
    };
    let (stop, told) = oneshot::channel::<()>();
    let greeter = service("greeter", &registry)
        .version("1.2.0")
        .id("greeter-1")
        .metadata("team", "a")
        .before_start(say("before start"))
        .after_start(say("after start"))
        .after_start(|| async move {
            let _ = stop.send(());
            Ok(())
        })
        .before_stop(say("before stop"))
        .after_stop(say("after stop"))
        .build()
        .unwrap();
    assert_eq!((greeter.name(), greeter.version(), greeter.id()), ("greeter", "1.2.0", "greeter-1"));
    let nothing = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let stopped = async {
        let _ = told.await;
    };
    greeter.run_until(nothing, stopped).await.unwrap();
    assert_eq!(
        *said.lock().unwrap(),
        [("before start", false), ("after start", true), ("before stop", true), ("after stop", false)]
    );
}

#[tokio::test]
async fn a_hook_that_fails_stops_the_service_and_is_named() {
    let nothing = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let registry = Memory::default();
    let fails = || async { Err("no database".into()) };
    let first = service("greeter", &registry).before_start(fails).build().unwrap();
    let error = first.run_until(nothing, std::future::pending()).await.unwrap_err();
    assert_eq!(error.to_string(), "what was to be done before start failed");
    let second = service("greeter", &registry).after_start(fails).build().unwrap();
    let error = second.run_until(nothing, std::future::pending()).await.unwrap_err();
    assert_eq!(error.to_string(), "what was to be done after start failed");
    assert!(registry.get("greeter").await.unwrap().iter().all(|service| service.endpoints.is_empty()));
}

#[tokio::test]
async fn services_call_each_other_by_name_under_one_deadline_and_request_id() {
    let registry = Memory::default();
    let inner = service("inner", &registry).build().unwrap();
    let says = service_fn(|_: Request<Body>| async {
        let deadline = Deadline::current().is_some_and(|deadline| deadline.left() < Duration::from_secs(60));
        let metadata = Metadata::current().unwrap();
        let text = format!("{deadline} {}", metadata.request_id().unwrap());
        Ok::<_, Infallible>(Response::new(Body::new(text)))
    });
    tokio::spawn(inner.run_until(says, std::future::pending()));

    let outer = service("outer", &registry).build().unwrap();
    let client = outer.clients();
    let asks = service_fn(move |_: Request<Body>| {
        let inner = client("inner");
        async move { Ok::<_, tower::BoxError>(inner.send(request("/", "")).await?.map(Body::new)) }
    });
    tokio::spawn(outer.run_until(asks, std::future::pending()));

    let caller = service("caller", &registry)
        .clients(|client| client.timeout(Duration::from_secs(60)))
        .build()
        .unwrap();
    let mut call = request("/", "");
    call.headers_mut().insert("x-request-id", "abc".parse().unwrap());
    let response = caller.client("outer").send(call).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "abc");
    assert_eq!(text(response).await, "true abc");
}
