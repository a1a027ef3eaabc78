//! What the pages show.

use axum::body::Body;
use http::{Request, StatusCode};
use micro::traffic::{Exchange, Traffic};
use micro_broker::{Event, Memory, Publisher};
use micro_discover::{Endpoint, Method, Service};
use tower::ServiceExt;

use crate::peer::{Reflection, serve};
use crate::site::{Site, event, text};

fn greeter(id: &str) -> Service {
    let mut service = Service::new("greeter").endpoint(Endpoint::new(id, "127.0.0.1:1".parse().unwrap()));
    service.methods = vec![Method::new("Greeter.Hello")];
    service
}

#[tokio::test]
async fn services_and_web_apps_are_listed_and_a_change_is_sent() {
    let site = Site::new("list");
    site.announce(&greeter("a")).await;
    let page = site.until("/", "href=\"/services/greeter\"").await;
    assert!(page.contains("None is registered below"));

    let mut live = site.get("/live/services").await;
    let first = event(&mut live).await;
    assert!(first.contains("/services/greeter") && first.contains("no-apps"), "{first}");
    let mut app = greeter("b");
    app.name = "go.micro.web.shop".into();
    site.announce(&app).await;
    let next = event(&mut live).await;
    assert!(next.contains("href=\\\"/shop/\\\"") && next.contains("\"gone\":[\"no-apps\"]"), "{next}");
    assert!(!next.contains("/services/greeter\\\""), "what has not changed is not sent: {next}");
}

#[tokio::test]
async fn a_service_shows_its_endpoints_and_says_when_they_are_gone() {
    let site = Site::new("service");
    site.announce(&greeter("a")).await;
    let page = site.until("/services/greeter", "127.0.0.1:1").await;
    assert!(page.contains("Greeter.Hello"));
    let mut live = site.get("/live/services/greeter").await;
    event(&mut live).await;
    site.registry.withdraw(&greeter("a")).await.unwrap();
    assert!(event(&mut live).await.contains("Nobody serves it any more"));
    assert_eq!(site.get("/services/greeter").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn figures_callers_and_single_requests_are_seen() {
    let traffic = Traffic::new();
    let site = Site::with("traffic", |web| web.traffic(traffic.clone()));
    site.announce(&greeter("a")).await;
    let mut tap = site.get("/tap/stream").await;
    let mut exchange = Exchange::new("greeter", "Greeter.Hello", "UNAVAILABLE", false);
    (exchange.from, exchange.endpoint, exchange.millis) = ("visitor".into(), "a".into(), 12.0);
    traffic.record(exchange);
    let row = event(&mut tap).await;
    assert!(row.contains("visitor") && row.contains("UNAVAILABLE") && row.contains("12.0 ms"), "{row}");
    let topology = site.until("/topology", "visitor").await;
    assert!(topology.contains("<path class=\"edge bad\""), "{topology}");
    assert!(site.until("/", "100.0 %").await.contains("greeter"));
}

#[tokio::test]
async fn endpoints_are_asked_for_their_own_figures_while_a_page_shows_them() {
    let site = Site::new("polls");
    let address = serve("a", Reflection::None).await;
    site.announce(&Service::new("echo").endpoint(Endpoint::new("a", address.parse().unwrap()))).await;
    site.until("/services/echo", &address).await;
    let mut live = site.get("/live/services/echo").await;
    loop {
        let next = tokio::time::timeout(std::time::Duration::from_secs(60), event(&mut live));
        if next.await.unwrap().contains("up 1 min, 7 requests") {
            return;
        }
    }
}

#[tokio::test]
async fn the_registry_is_json_for_programs() {
    let site = Site::new("json");
    site.announce(&greeter("a")).await;
    site.until("/registry", "127.0.0.1:1").await;
    let ask =
        |path: &str| Request::get(path).header("accept", "application/json").body(Body::empty()).unwrap();
    let all: serde_json::Value =
        serde_json::from_str(&text(site.send(ask("/registry")).await).await).unwrap();
    assert_eq!(all["services"][0]["endpoints"][0]["id"], "a");
    let none = site.send(ask("/registry?service=nobody")).await;
    assert_eq!((none.status(), text(none).await.as_str()), (StatusCode::NOT_FOUND, "Not found"));
}

#[tokio::test]
async fn a_method_is_called_by_a_form_made_of_what_it_takes() {
    let site = Site::new("call");
    let address = serve("a", Reflection::V1).await;
    let echo = Service::new("echo").endpoint(Endpoint::new("a", address.parse().unwrap()));
    site.announce(&echo).await;
    site.until("/", "/services/echo").await;
    let form = site.until("/call?service=echo&method=test.v1.Echo/Unary", "data-path").await;
    assert!(form.contains("data-path=\"[&quot;text&quot;]\"") && form.contains("MOOD_GOOD"), "{form}");
    let answer = site.post("/call", "service=echo&method=Echo.Many&request=%7B%22number%22%3A2%7D").await;
    assert_eq!(text(answer).await, "{}\n{\n  \"number\": \"1\"\n}\n");
    let answer = site.post("/call", "service=echo&method=Echo.Fail&request=%7B%22number%22%3A5%7D").await;
    assert_eq!(text(answer).await, "NOT_FOUND: as you asked\n");
    let answer = site.post("/call", "service=127.0.0.1:22&method=Echo.Fail").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "only what is registered is reached");
}

#[tokio::test]
async fn programs_call_as_they_do_at_the_gateway() {
    let site = Site::new("rpc");
    let address = serve("a", Reflection::V1).await;
    site.announce(&Service::new("echo").endpoint(Endpoint::new("a", address.parse().unwrap()))).await;
    let ask = |body: &'static str| {
        Request::post("/rpc").header("content-type", "application/json").body(Body::from(body)).unwrap()
    };
    let answer = ask(r#"{"service":"echo","method":"Echo.Unary","request":{"text":"hi"}}"#);
    assert_eq!(text(site.send(answer).await).await, r#"{"text":"hi"}"#);
    assert_eq!(
        site.send(ask(r#"{"service":"nobody","method":"A.B"}"#)).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(site.get("/rpc").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let forged = r#"{"service":"echo","method":"Echo.Unary"}"#;
    let mut forged = ask(forged);
    forged.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    assert_eq!(site.send(forged).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn events_are_published_and_flow() {
    let broker = std::sync::Arc::new(Memory::new());
    let site = Site::with("events", |web| web.broker(broker.clone()));
    let mut stream = site.get("/events/stream?topic=orders.*").await;
    assert_eq!(stream.status(), StatusCode::OK);
    let published =
        site.post("/events", "topic=orders.created&body=7+apples&content_type=text%2Fplain").await;
    assert!(text(published).await.starts_with("published as "));
    let row = event(&mut stream).await;
    assert!(row.contains("7 apples") && row.contains("content-type: text/plain"), "{row}");
    Publisher::new(broker as std::sync::Arc<dyn micro_broker::Broker>)
        .oneshot(Event::new("orders.paid", "two\nlines"))
        .await
        .unwrap();
    assert!(event(&mut stream).await.contains("two lines"));
    assert_eq!(site.post("/events", "topic=&body=x").await.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn what_was_answered_is_counted_as_go_micro_counts_it() {
    let site = Site::new("stats");
    assert_eq!(site.get("/no/such/page").await.status(), StatusCode::NOT_FOUND);
    let request = Request::get("/stats").header("accept", "application/json").body(Body::empty()).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&text(site.send(request).await).await).unwrap();
    let codes = &stats["counters"].as_array().unwrap().last().unwrap()["status_codes"];
    assert_eq!(codes["40x"], 1, "{stats}");
    assert!(text(site.get("/stats").await).await.contains("<h1>Stats</h1>"), "and for people");
}
