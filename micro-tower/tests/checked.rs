//! A client whose endpoints are asked whether they are well, and one of whose endpoints does not answer, over
//! real sockets.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::time::Duration;

use futures_util::StreamExt as _;
use http::{Request, Response};
use micro_balance::{
    State,
    health::{GrpcCheck, HealthCheck, HttpCheck, TcpCheck},
    policy::{Policy, RoundRobin},
    retry::RetryLayer,
};
use micro_discover::{Endpoint, Endpoints, Service};
use micro_tower::{Client, transport::Connection};
use peer::{echo, serve};
use tokio::time::{Instant, sleep};
use tonic::body::Body;

/// A stream of one set that never ends.
fn fixed(addresses: &[String]) -> Endpoints {
    let mut service = Service::new("greeter");
    for (number, address) in addresses.iter().enumerate() {
        service = service.endpoint(Endpoint::new(number.to_string(), address.parse().unwrap()));
    }
    Endpoints::new(futures_util::stream::iter([vec![service]]).chain(futures_util::stream::pending()))
}

fn often() -> HealthCheck {
    HealthCheck::default().interval(Duration::from_millis(20)).unhealthy_threshold(1).healthy_threshold(1)
}

async fn become_state<P: Policy>(client: &Client<P>, number: usize, state: State) {
    for _ in 0..1_000 {
        if client.endpoints().get(number).is_some_and(|view| view.state == state) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} never became {state:?}", client.endpoints());
}

#[tokio::test]
async fn an_endpoint_that_says_it_does_not_serve_is_left_out_until_it_does() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("greeter.Greeter", tonic_health::ServingStatus::Serving).await;
    let bound = micro_tower::Server::new().health(false).bind().await.unwrap();
    let address = bound.local_address().to_string();
    tokio::spawn(bound.serve_until(tonic::service::Routes::new(health), std::future::pending()));
    for check in [GrpcCheck::new("greeter.Greeter"), GrpcCheck::new("greeter.Greeter").unary()] {
        let client = Client::builder_over("greeter", fixed(std::slice::from_ref(&address)))
            .health_check(often(), check)
            .build();
        become_state(&client, 0, State::Ready).await;
        reporter.set_service_status("greeter.Greeter", tonic_health::ServingStatus::NotServing).await;
        become_state(&client, 0, State::Unhealthy).await;
        reporter.set_service_status("greeter.Greeter", tonic_health::ServingStatus::Serving).await;
        become_state(&client, 0, State::Ready).await;
    }
}

#[tokio::test]
async fn an_endpoint_is_asked_for_a_page_or_for_a_connection() {
    let address = serve(|request: Request<_>| async move {
        let well = request.uri().path() == "/healthz";
        let mut response = Response::new(Body::default());
        *response.status_mut() = if well { http::StatusCode::OK } else { http::StatusCode::NOT_FOUND };
        response
    })
    .await
    .to_string();
    let set = || fixed(std::slice::from_ref(&address));
    let page = |path| {
        let check = HttpCheck::new(path).unwrap();
        Client::builder_over("greeter", set()).health_check(often(), check).build()
    };
    become_state(&page("/healthz"), 0, State::Ready).await;
    become_state(&page("/elsewhere"), 0, State::Unhealthy).await;
    let check = TcpCheck::new(|connection: &Connection<_>| connection.tcp_address());
    let client = Client::builder_over("greeter", set()).health_check(often(), check).build();
    become_state(&client, 0, State::Ready).await;
}

#[tokio::test]
async fn an_endpoint_that_is_degraded_by_its_record_or_its_page_is_spared_while_others_suffice() {
    let page = |degraded: &'static str| async move {
        let answer = move |request: Request<_>| async move {
            let mut response = Response::new(Body::default());
            if request.uri().path() == "/healthz" && degraded == "page" {
                response.headers_mut().insert("x-envoy-degraded", "1".parse().unwrap());
            }
            response
        };
        serve(answer).await.to_string()
    };
    for how in ["record", "page"] {
        let mut service = Service::new("greeter");
        for (number, degraded) in ["", "", "", how].into_iter().enumerate() {
            let endpoint = Endpoint::new(number.to_string(), page(degraded).await.parse().unwrap());
            service = service.endpoint(if degraded == "record" { endpoint.degraded() } else { endpoint });
        }
        let set = futures_util::stream::iter([vec![service]]).chain(futures_util::stream::pending());
        let client = Client::builder_over("greeter", Endpoints::new(set))
            .policy(RoundRobin::new())
            .health_check(often(), HttpCheck::new("/healthz").unwrap())
            .build();
        for number in 0..3 {
            become_state(&client, number, State::Ready).await;
        }
        become_state(&client, 3, State::Degraded).await;
        for _ in 0..12 {
            client.send(Request::get("/").body(Body::default()).unwrap()).await.unwrap();
        }
        let picks: Vec<_> = client.endpoints().iter().map(|view| view.picks).collect();
        assert_eq!(picks, [4, 4, 4, 0], "{how}");
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers_costs_a_call_one_attempts_limit_and_no_more() {
    let frozen = serve(|_| std::future::pending()).await.to_string();
    let client = Client::builder_over("greeter", fixed(&[frozen, serve(echo).await.to_string()]))
        .policy(RoundRobin::starting_at(0))
        .timeout(Duration::from_secs(20))
        .attempt_timeout(Duration::from_millis(200))
        .build();
    while client.endpoints().iter().filter(|view| view.state == State::Ready).count() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    for _ in 0..4 {
        let response = client.send(Request::get("/").body(Body::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    // Two of four go to the frozen endpoint first.
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(client.endpoints()[0].failures >= 2);
    // The same, where no attempt has a limit of its own but a third of the call's time.
    let shared = client.with_rules(Some(Duration::from_millis(600)), None, RetryLayer::new().share_time());
    for _ in 0..4 {
        let response = shared.send(Request::get("/").body(Body::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}
