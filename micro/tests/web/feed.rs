//! Requests that pass through gateways and sidecars, which are processes of their own.

use std::time::Duration;

use micro::command::Context;
use micro_discover::{Endpoint, Service};

use crate::face::Face;
use crate::peer::{Reflection, serve};
use crate::program::Place;
use crate::site::{Site, event};

/// Lets a face be followed.
const FOLLOWED: [&str; 2] = ["--operator-address", "127.0.0.1:0"];

/// Two endpoints of `echo` and one of `shop`, in the registry of `place`, and a dashboard of that.
async fn town(place: &Place) -> Site {
    let site = Site::over(Context::open(&place.url()).unwrap(), |web| web);
    let mut echo = Service::new("echo");
    for id in ["echo-a", "echo-b"] {
        let address = serve(id, Reflection::V1).await;
        echo = echo.endpoint(Endpoint::new(id, address.parse().unwrap()));
    }
    site.announce(&echo).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shop = axum::Router::new().fallback(|| async { "hello" });
    tokio::spawn(async move { axum::serve(listener, shop).await });
    site.announce(&Service::new("shop").endpoint(Endpoint::new("shop-a", address.parse().unwrap()))).await;
    site
}

/// What the tap has shown.
struct Tap {
    stream: axum::response::Response,
    seen: Vec<String>,
}

impl Tap {
    /// The row with all of `words`, once it is there.
    async fn row(&mut self, words: &[&str]) -> String {
        let has = |row: &&String| words.iter().all(|word| row.contains(word));
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(row) = self.seen.iter().find(has) {
                return row.clone();
            }
            let next = tokio::time::timeout_at(end, event(&mut self.stream)).await;
            self.seen.push(next.unwrap_or_else(|_| panic!("no row has {words:?}: {:?}", self.seen)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_through_gateways_and_sidecars_is_seen() {
    let place = Place::new();
    let site = town(&place).await;
    let gateway = Face::start(&place, &FOLLOWED);
    let app = ["--server-name", "till", "--server-address", "127.0.0.1:9"];
    let sidecar = Face::of(&place, "sidecar", &[&FOLLOWED[..], &app].concat());
    site.until("/", "2 gateways and sidecars").await;
    let mut tap = Tap { stream: site.get("/tap/stream").await, seen: Vec::new() };

    let asked = tokio::task::spawn_blocking(move || {
        let json = "content-type: application/json\r\n";
        for (face, method, path, headers, body) in [
            // Passed on, and called by path; with a caller that names itself, and callers that do not.
            (
                &gateway,
                "GET",
                "/shop/hello",
                "micro-from-service: visitor\r\nx-request-id: mine\r\n",
                &b""[..],
            ),
            (&gateway, "POST", "/echo/echo/unary", json, b"{}"),
            (&sidecar, "POST", "/echo/echo/unary", json, b"{}"),
            (&gateway, "POST", "/rpc", json, br#"{"service":"echo","method":"Echo.Sum"}"#),
            (&sidecar, "POST", "/rpc", json, br#"{"service":"echo","method":"Echo.Sum"}"#),
        ] {
            let answer = face.ask(method, path, headers, body);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        let failed = sidecar.ask("POST", "/echo/echo/fail", json, br#"{"number": 13}"#);
        assert_eq!(failed.status, 500, "{failed:?}");
        (gateway, sidecar)
    });
    let faces = asked.await.unwrap();
    let passed = tap.row(&["visitor", "/shop/hello", "200"]).await;
    assert!(passed.contains("shop-a") && passed.contains("mine"), "{passed}");
    for words in [
        &["go.micro.api", "Echo.Unary"][..],
        &["till", "Echo.Unary"],
        &["go.micro.api", "Echo.Sum", "200"],
        &["till", "Echo.Sum", "200"],
        &["till", "Echo.Fail", "500"],
    ] {
        let called = tap.row(words).await;
        assert!(called.contains("echo-a") || called.contains("echo-b"), "{called}");
    }
    let topology = site.until("/topology", "till → echo").await;
    assert!(topology.contains("visitor → shop") && topology.contains("go.micro.api → echo"), "{topology}");
    site.until("/services/echo", "20.0 %").await;

    // A face that goes is not followed any more, and one that comes is.
    drop(faces);
    site.until("/", "no gateway or sidecar").await;
    let again = Face::start(&place, &FOLLOWED);
    site.until("/", "one gateway or sidecar").await;
    let asked = tokio::task::spawn_blocking(move || {
        assert_eq!(again.get("/shop/again").status, 200);
        again
    });
    let again = asked.await.unwrap();
    tap.row(&["/shop/again", "shop-a"]).await;
    drop(again);
}
