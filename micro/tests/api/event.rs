//! Requests that become events.

use std::time::{Duration, Instant};

use micro_discover::{Method, Service as Record};
use serde_json::{Value, json};

use crate::face::{Answer, Face};
use crate::program::{Place, Running};
use crate::service::Services;

/// Posts until `subscriber` has heard it: it may not listen yet.
fn heard(subscriber: &mut Running, post: impl Fn() -> Answer) -> Value {
    let started = Instant::now();
    while !subscriber.has_ended() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was heard");
        let answer = post();
        assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, out) = subscriber.end();
    assert_eq!(status.code(), Some(0), "{out}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn subscriber(place: &Place, topic: &str) -> Running {
    place.start(&["subscribe", topic, "--count", "1", "-o", "json"])
}

#[test]
fn a_post_is_published_as_go_micros_event() {
    let place = Place::new();
    let _services = Services::new(&place);
    let face = Face::start(&place, &["--handler", "event"]);
    let mut subscriber = subscriber(&place, "go.micro.api.user");
    let event = heard(&mut subscriber, || face.ask("POST", "/user/login", "x-tenant: a\r\n", b"{\"id\":7}"));
    assert_eq!(event["topic"], "go.micro.api.user");
    assert_eq!(event["headers"]["content-type"], "application/protobuf");
    let text = event.to_string();
    assert!(text.contains("go.micro.api.user-login-"), "{text}");
    assert_eq!(face.ask("POST", "/", "", b"x").status, 200, "the namespace itself is a topic");
}

#[test]
fn a_method_that_announces_it_gets_events_and_a_route_says_their_form() {
    let place = Place::new();
    let services = Services::new(&place);
    let mut hear = Method::new("Users.Login");
    hear.metadata.insert("handler".to_owned(), "event".to_owned());
    services.serve(Record::new("users").method(hear), |_| async { unreachable!("it is no request") });
    std::fs::write(
        place.path("micro.toml"),
        "[[api.route]]\npath = '/signup'\nhandler = 'event'\ntopic = 'users.created'\nevent = 'json'\n\
         [[api.route]]\npath = '/users'\nevent = 'body'\nmost_bytes = 10\n",
    )
    .unwrap();
    let face = Face::start(&place, &["--config", place.path("micro.toml").to_str().unwrap()]);
    let mut announced = subscriber(&place, "go.micro.api.users");
    let kind = "content-type: application/json\r\n";
    let event = heard(&mut announced, || face.ask("POST", "/users/login", kind, b"{\"id\":7}"));
    assert_eq!(
        (&event["headers"]["content-type"], &event["body"]),
        (&"application/json".into(), &json!({"id": 7}))
    );
    assert_eq!(face.ask("POST", "/users/login", kind, b"{\"id\":12345}").status, 413);

    let mut routed = subscriber(&place, "users.created");
    let event = heard(&mut routed, || face.ask("POST", "/signup", "", b"hello"));
    assert_eq!((&event["body"]["data"], &event["body"]["name"]), (&"hello".into(), &"".into()));
}
