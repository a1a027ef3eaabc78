//! A client over several endpoints, some of which are not there.
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

use futures_util::{FutureExt as _, StreamExt as _, future::join_all};
use http::{Request, Response, StatusCode};
use micro_balance::{
    Balance, Http, State, limit::LimitLayer, policy::RoundRobin, session::SessionLayer,
    timeout::IdleTimeoutLayer,
};
use micro_discover::{Endpoint, Endpoints, Fixed, Memory, Registry, Service};
use micro_tower::{
    Client, Error, Phase,
    client::ConnectedEndpoints,
    deadline::{Deadline, ServerDeadlineLayer},
    metadata::{REQUEST_ID, ServerMetadataLayer},
    transport::Connector,
};
use peer::{echo, h2::ByHand, nobody, request, serve, text};
use tonic::{Code, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{ServiceBuilder, ServiceExt};

type Changes = Vec<Service>;

/// A stream of one set that never ends.
fn fixed(addresses: &[String]) -> Endpoints {
    let mut service = Service::new("greeter");
    for (number, address) in addresses.iter().enumerate() {
        service = service.endpoint(Endpoint::new(number.to_string(), address.parse().unwrap()));
    }
    let set: Changes = vec![service];
    Endpoints::new(futures_util::stream::iter([set]).chain(futures_util::stream::pending()))
}

fn client(addresses: &[String]) -> Client {
    Client::builder_over("greeter", fixed(addresses)).timeout(Duration::from_secs(5)).build()
}

async fn calls(client: &Client, count: usize, at_once: usize) -> usize {
    let each = (0..at_once).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut failed = 0;
            for _ in 0..count / at_once {
                match client.send(request("/", "hello")).await {
                    Ok(response) => assert_eq!(text(response).await, "hello"),
                    Err(_) => failed += 1,
                }
            }
            failed
        })
    });
    join_all(each).await.into_iter().map(Result::unwrap).sum()
}

/// R1 of go-micro: its retries pass over what could not connect.
#[tokio::test]
async fn endpoints_that_refuse_connections_cost_no_call() {
    let [live, other] = [serve(echo).await.to_string(), serve(echo).await.to_string()];
    let refused = nobody().await.to_string();
    let one = client(&[live.clone(), refused.clone()]);
    assert_eq!(calls(&one, 2000, 16).await, 0);
    let two = client(&[live, other, refused]);
    assert_eq!(calls(&two, 2000, 16).await, 0);
}

/// R20 of go-micro: of the addresses it is given, all calls of a second go to one.
#[tokio::test]
async fn calls_of_one_moment_go_to_all_addresses_that_are_given() {
    let mut given = Vec::new();
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    for (number, count) in counts.iter().enumerate() {
        let count = count.clone();
        let address = serve(move |request| {
            count.fetch_add(1, SeqCst);
            echo(request)
        });
        given.push(Endpoint::new(number.to_string(), address.await.to_string().parse().unwrap()));
    }
    let registry = Arc::new(Fixed::new(given).unwrap());
    let client = Client::builder("greeter", registry).policy(RoundRobin::new());
    let client = client.timeout(Duration::from_secs(60)).build();
    let is_ready = |client: &Client<RoundRobin>| {
        let endpoints = client.endpoints();
        endpoints.len() == 3 && endpoints.iter().all(|endpoint| endpoint.state == State::Ready)
    };
    while !is_ready(&client) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let calls = (0..30).map(|_| client.send(request("/", "hello")));
    for response in join_all(calls).await {
        assert_eq!(text(response.unwrap()).await, "hello");
    }
    assert_eq!(counts.map(|count| count.load(SeqCst)), [10; 3]);
}

#[tokio::test]
async fn an_endpoint_that_accepts_and_never_speaks_costs_no_call() {
    let live = serve(echo).await.to_string();
    let (silent, address) = peer::listen().await;
    let client = client(&[live, address.to_string()]);
    assert_eq!(calls(&client, 500, 8).await, 0);
    drop(silent);
}

#[tokio::test]
async fn connections_that_go_away_cost_no_call() {
    // Each connection answers ten requests, then sends GOAWAY and finishes.
    let server = ByHand::new(100).await;
    let address = server.address.to_string();
    tokio::spawn(server.each(|mut h2| async move {
        let mut answered = 0;
        while let Some(stream) = h2.accept().await {
            let Ok(mut stream) = stream else { return };
            let mut body = stream.1.send_response(Response::new(()), false).unwrap();
            body.send_data("hello".into(), true).unwrap();
            answered += 1;
            if answered == 10 {
                h2.graceful_shutdown();
            }
        }
    }));
    let live = serve(echo).await.to_string();
    assert_eq!(calls(&client(&[address, live]), 2000, 16).await, 0);
}

#[tokio::test]
async fn nobody_known_and_nobody_there_are_said_at_once_and_by_name() {
    let none = Client::builder_over("greeter", fixed(&[])).build();
    let error = none.send(request("/", "x")).await.unwrap_err();
    assert!(format!("{error} {error:?}").contains("greeter"), "{error}");

    let refused = [nobody().await.to_string()];
    let client = Client::builder_over("greeter", fixed(&refused)).failfast(Duration::from_millis(50)).build();
    let error = HealthClient::new(client).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("greeter"), "{error}");
}

#[tokio::test]
async fn a_balancer_of_ones_own_knows_the_labels_of_what_it_connects_to() {
    let spare = Endpoint::new("spare", "127.0.0.1:1".parse().unwrap()).weight(3).metadata("tier", "gold");
    let set = futures_util::stream::iter([vec![Service::new("greeter").endpoint(spare)]]);
    let endpoints = Endpoints::new(set.chain(futures_util::stream::pending()));
    let connections = ConnectedEndpoints::new(endpoints, Connector::new());
    let attributes = connections.attributes();
    let balance =
        Balance::builder(connections).attributes(attributes).failfast(Duration::ZERO).protocol(Http).build();
    // Its answer comes after discovery's.
    balance.clone().oneshot(request("/", "x").map(tonic::body::Body::new)).await.unwrap_err();
    let seen = balance.endpoints().remove(0).attributes;
    assert_eq!((seen.weight, seen.metadata["tier"].as_str()), (3, "gold"));
}

#[tokio::test]
async fn an_error_says_which_attempt_it_was() {
    let mut addresses = Vec::new();
    for _ in 0..3 {
        let server = ByHand::new(100).await;
        addresses.push(server.address.to_string());
        // Whoever is asked hangs up.
        tokio::spawn(server.each(|mut h2| async move { drop(h2.accept().await) }));
    }
    let client = client(&addresses);
    let said = async {
        loop {
            let mut request = request("/", "x");
            request.extensions_mut().insert(micro_balance::Repeatable);
            let error = client.send(request).await.unwrap_err();
            if error.to_string().contains(", in attempt ") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), said).await.expect("the second endpoint's error says it");
}

#[tokio::test]
async fn a_generated_client_takes_it_and_gets_codes() {
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = tonic::service::Routes::new(health);
    let bound = micro_tower::Server::new().health(false).bind().await.unwrap();
    let address = bound.local_address().to_string();
    tokio::spawn(bound.serve_until(routes, std::future::pending()));
    reporter.set_service_status("greeter", tonic_health::ServingStatus::NotServing).await;
    let mut client = HealthClient::new(client(&[address]));
    let known = client.check(HealthCheckRequest { service: "greeter".into() }).await.unwrap();
    assert_eq!(known.into_inner().status, 2);
    let unknown = client.check(HealthCheckRequest { service: "other".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    // A stream: the first answer is there, the next when something changes.
    let watch = client.watch(HealthCheckRequest { service: "greeter".into() }).await.unwrap();
    let mut watch = watch.into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    reporter.set_service_status("greeter", tonic_health::ServingStatus::Serving).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
}

#[tokio::test]
async fn a_generated_client_has_its_interceptors_around_it_and_around_its_layers() {
    let bound = micro_tower::Server::new().bind().await.unwrap();
    let address = bound.local_address().to_string();
    let nothing =
        tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    tokio::spawn(bound.serve_until(nothing, std::future::pending()));
    // Every body that a client's layers make of an answer can be one with nothing in it, which tonic asks for.
    let layers = ServiceBuilder::new()
        .layer(SessionLayer::new("session"))
        .layer(LimitLayer::new(10).http())
        .layer(IdleTimeoutLayer::new(Duration::from_secs(5)))
        .service(client(&[address]));
    let mut let_through = HealthClient::with_interceptor(layers, |request: tonic::Request<()>| match request
        .metadata()
        .get("forbidden")
    {
        Some(_) => Err(tonic::Status::permission_denied("by the interceptor")),
        None => Ok(request),
    });
    let answer = let_through.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("forbidden", "yes".parse().unwrap());
    assert_eq!(let_through.check(request).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_deadline_exceeded() {
    let address = serve(|_| std::future::pending()).await.to_string();
    let client =
        Client::builder_over("greeter", fixed(&[address])).timeout(Duration::from_millis(50)).build();
    let error = HealthClient::new(client).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_shorter_than_the_wait_for_an_endpoint_says_who_was_not_there() {
    let refused = nobody().await.to_string();
    let client = Client::builder_over("greeter", fixed(std::slice::from_ref(&refused)))
        .timeout(Duration::from_millis(50))
        .build();
    let error = HealthClient::new(client.clone()).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let plain = client.send(request("/", "x")).await.unwrap_err().to_string();
    for told in [error.message(), &plain] {
        let who = format!("greeter at {refused} could not be connected to");
        assert!(told.contains("none of 1 known endpoints") && told.contains(&who), "{told}");
    }
}

/// Answers with how much time it was given, in microseconds, and the request id it saw.
async fn time_left(request: Request<impl Sized>) -> Result<Response<Body>, Infallible> {
    let left = Deadline::of(&request).map_or(0, |deadline| deadline.left().as_micros());
    let mut response = Response::new(Body::new(left.to_string()));
    let id = request.headers()[&REQUEST_ID].clone();
    response.headers_mut().insert("x-seen", id);
    Ok(response)
}

#[tokio::test]
async fn deadline_and_request_id_cross_every_server() {
    async fn start<S>(service: S) -> String
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
        S: Clone + Send + 'static,
    {
        let layers =
            ServiceBuilder::new().layer(ServerMetadataLayer::new()).layer(ServerDeadlineLayer::new());
        let bound = micro_tower::Server::new().bind().await.unwrap();
        let address = bound.local_address().to_string();
        tokio::spawn(bound.serve_until(layers.service(service), std::future::pending()));
        address
    }
    let last = start(tower::service_fn(time_left)).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = Client::builder_over("last", fixed(&[last])).timeout(Duration::from_secs(3600)).build();
    let middle = start(tower::service_fn(move |_| {
        let inner = inner.clone();
        let calls = calls.clone();
        async move {
            calls.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            let response = inner.send(request("/", "")).await.unwrap();
            Ok(response.map(Body::new))
        }
    }))
    .await;
    let client = Client::builder_over("middle", fixed(&[middle])).timeout(Duration::from_secs(60)).build();
    let mut first = request("/", "");
    first.headers_mut().insert(REQUEST_ID, "abc".parse().unwrap());
    let response = client.send(first).await.unwrap();
    assert_eq!(response.headers()["x-seen"], "abc");
    let left = Duration::from_micros(text(response).await.parse().unwrap());
    // Of the sixty seconds, not of the hour; less than the middle one slept away.
    assert!(left <= Duration::from_millis(59_970), "{left:?}");
    assert!(left > Duration::from_secs(30), "{left:?}");
    // Without an id there is a new one.
    let response = client.send(request("/", "")).await.unwrap();
    assert_eq!(response.headers()["x-seen"].len(), 32);
}

#[tokio::test]
async fn plain_http_errors_say_where_and_how_far() {
    // Answers the head, then cuts the connection.
    let server = ByHand::new(100).await;
    let address = server.address.to_string();
    tokio::spawn(server.each(|mut h2| async move {
        let mut stream = h2.accept().await.unwrap().unwrap();
        let body = stream.1.send_response(Response::new(()), false).unwrap();
        let _ = h2.accept().now_or_never();
        drop((h2, body));
    }));
    let client = client(std::slice::from_ref(&address));
    let response = client.send(request("/", "x")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let error = http_body_util::BodyExt::collect(response.into_body()).await.unwrap_err();
    let error = error.downcast::<Error>().unwrap();
    assert_eq!(error.phase(), Phase::Read);
    assert!(error.to_string().starts_with(&format!("greeter at {address} broke off its answer")), "{error}");
}

#[tokio::test]
async fn what_changes_about_an_endpoint_does_not_reconnect_it() {
    let accepted = Arc::new(AtomicUsize::new(0));
    let server = ByHand::new(100).await;
    let address = server.address;
    let count = accepted.clone();
    tokio::spawn(server.each(move |mut h2| {
        count.fetch_add(1, SeqCst);
        async move {
            while let Some(Ok(mut stream)) = h2.accept().await {
                peer::h2::answer(&mut stream);
            }
        }
    }));
    let registry = Memory::default();
    let record = |weight| {
        let endpoint = Endpoint::new("a", address.to_string().parse().unwrap());
        Service::new("greeter").endpoint(endpoint.weight(weight))
    };
    registry.announce(&record(1), Duration::from_secs(60)).await.unwrap();
    let client = Client::builder("greeter", Arc::new(registry.clone())).build();
    let response = client.send(request("/", "x")).await.unwrap();
    assert_eq!(text(response).await, "answer");
    registry.announce(&record(7), Duration::from_secs(60)).await.unwrap();
    while client.endpoints()[0].attributes.weight != 7 {
        tokio::task::yield_now().await;
    }
    let response = client.send(request("/", "x")).await.unwrap();
    assert_eq!(text(response).await, "answer");
    assert_eq!(accepted.load(SeqCst), 1);
}

#[test]
fn it_fits_wherever_services_go() {
    fn fits<T: Clone + Send + Sync + 'static>() {}
    fits::<Client>();
    fn travels<T: Send>() {}
    travels::<micro_tower::client::ResponseFuture>();
    fn is_read<T: http_body::Body + Send + Unpin>() {}
    is_read::<micro_tower::client::ResponseBody>();
}
