//! What a file says of routes, and what methods announce.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::Response;
use micro_discover::{Method, Service as Record};
use tokio::sync::Notify;
use tonic::body::Body;

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;
use crate::shop;

/// A gateway whose file is `toml`, and where that is.
fn face(place: &Place, toml: &str) -> (Face, std::path::PathBuf) {
    let file = place.path("gateway.toml");
    std::fs::write(&file, toml).unwrap();
    (Face::start(place, &["--config", file.to_str().unwrap()]), file)
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_route_says_where_requests_go_and_how_long_they_may_take() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("other");
    services.serve(Record::new("slow"), |_| std::future::pending::<Response<Body>>());
    let toml = "[api]\ntimeout = '60s'\n\
                [[api.route]]\npath = '/here'\nservice = 'other'\nmethods = ['GET']\n\
                [[api.route]]\npath = '/here'\nservice = 'other'\nhost = 'shop.example'\n\
                [[api.route]]\npath = '/slow'\ntimeout = '300ms'\n";
    let (face, _) = face(&place, toml);
    let answer = face.get("/here/a?b");
    assert!(answer.text().starts_with("other: GET /here/a?b\n"), "{answer:?}");
    assert_eq!(face.ask("POST", "/here/a", "", b"").status, 404, "no route is for it");
    let other_host = b"POST /here/a HTTP/1.1\r\nhost: Shop.example:80\r\nconnection: close\r\n\r\n";
    assert!(face.say(other_host).starts_with(b"HTTP/1.1 200"));
    let began = Instant::now();
    let late = face.get("/slow/x");
    assert_eq!(late.status, 504);
    assert!(late.text().contains("service slow did not begin its answer within"), "{late:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_route_says_what_is_sent_again() {
    let place = Place::new();
    let services = Services::new(&place);
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    services.serve(Record::new("failing"), move |request| {
        // The gateway asks what it is, too.
        if request.uri().path().starts_with("/failing") {
            counted.fetch_add(1, Relaxed);
        }
        async { Response::builder().status(503).body(Body::empty()).unwrap() }
    });
    let toml = "[[api.route]]\npath = '/failing'\nretry = { attempts = 1 }\n\
                [[api.route]]\npath = '/failing/again'\n\
                retry = { attempts = 4, codes = ['UNAVAILABLE', 10], budget = 'endless', backoff.constant.wait = '1ms' }\n";
    let (face, _) = face(&place, toml);
    assert_eq!(face.get("/failing/x").status, 503);
    assert_eq!(tries.swap(0, Relaxed), 1);
    assert_eq!(face.get("/failing/again").status, 503);
    assert_eq!(tries.swap(0, Relaxed), 4);
}

#[test]
fn a_route_holds_as_many_requests_as_it_is_told() {
    let place = Place::new();
    let services = Services::new(&place);
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (begun.clone(), go.clone());
    services.serve(Record::new("foo"), move |request| {
        let (begun, go) = signals.clone();
        async move {
            // The gateway asks what it is, too.
            if !request.uri().path().contains("foo") {
                return Response::new(Body::empty());
            }
            begun.notify_one();
            go.notified().await;
            Response::new(Body::new("done".to_owned()))
        }
    });
    services.mirror("bar");
    let (face, _) = face(&place, "[[api.route]]\npath = '/foo'\nlimit.fixed.limit = 1\n");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| face.get("/foo/x"));
        services.runtime.block_on(begun.notified());
        let second = face.get("//foo//x");
        assert_eq!((second.status, second.header("retry-after")), (503, Some("1")), "{second:?}");
        assert_eq!(face.get("/bar/x").status, 200, "others have no limit");
        go.notify_one();
        assert_eq!(first.join().unwrap().text(), "done");
    });
    go.notify_one();
    assert_eq!(face.get("/foo/x").status, 200, "there is room again");
}

#[test]
fn a_changed_file_holds_at_once_and_costs_no_call_and_a_bad_one_changes_nothing() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("one");
    services.mirror("two");
    let toml = |service: &str| format!("[[api.route]]\npath = '/here'\nservice = '{service}'\n");
    let (face, file) = face(&place, &toml("one"));
    assert!(face.get("/here").text().starts_with("one: "));
    let (enough, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut failed = Vec::new();
            while !enough.load(Relaxed) {
                let answer = face.get("/here/x");
                if answer.status != 200 {
                    failed.push(answer);
                }
                calls.fetch_add(1, Relaxed);
            }
            failed
        });
        // As an editor writes: another file takes its place.
        let next = place.path("next.toml");
        std::fs::write(&next, toml("two")).unwrap();
        std::fs::rename(&next, &file).unwrap();
        wait_until("the new route does not hold", || face.get("/here").text().starts_with("two: "));

        // A path that is none, and a table that nobody reads.
        for (at, bad) in [(1, "[[api.route]]\npath = 'here'\n"), (2, "[[route]]\npath = '/here'\n")] {
            std::fs::write(&file, bad).unwrap();
            let refused = format!("micro_gateway_reloads_total{{outcome=\"refused\"}} {at}");
            wait_until("nobody says that it is bad", || face.get("/metrics").text().contains(&refused));
            assert!(face.get("/here").text().starts_with("two: "));
        }

        std::fs::write(&file, toml("one")).unwrap();
        wait_until("a good file does not help", || face.get("/here").text().starts_with("one: "));
        enough.store(true, Relaxed);
        load.join().unwrap()
    });
    assert!(failed.is_empty(), "{} of {calls:?}: {:?}", failed.len(), failed.first());
}

#[test]
fn a_file_that_comes_later_holds_too_and_the_nearer_one_stands_above() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("one");
    services.mirror("two");
    let (near, home) = (place.path("near"), place.path("home"));
    std::fs::create_dir_all(&near).unwrap();
    std::fs::create_dir_all(home.join("micro")).unwrap();
    let toml = |service: &str| format!("[[api.route]]\npath = '/here'\nservice = '{service}'\n");
    let mut command = place.command(&["api", "--address", "127.0.0.1:0"]);
    let face = Face::running("api", place.spawn(command.current_dir(&near).env("XDG_CONFIG_HOME", &home)));
    assert_eq!(face.get("/here").status, 404);
    std::fs::write(home.join("micro/config.toml"), toml("one")).unwrap();
    wait_until("the user's file does not hold", || face.get("/here").text().starts_with("one: "));
    std::fs::write(near.join("micro.toml"), toml("two")).unwrap();
    wait_until("the nearer file does not hold", || face.get("/here").text().starts_with("two: "));
    // While it is being written anew it is not there, and the other does not come back.
    std::fs::remove_file(near.join("micro.toml")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(face.get("/here").text().starts_with("two: "));
    std::fs::write(near.join("micro.toml"), toml("one")).unwrap();
    wait_until("the file that came back does not hold", || face.get("/here").text().starts_with("one: "));
}

#[test]
fn a_bad_file_at_first_is_a_wrong_setting() {
    let place = Place::new();
    let file = place.path("gateway.toml");
    std::fs::write(&file, "[[api.route]]\npath = '/a'\nlimit = 'endless'\n").unwrap();
    let run = place.run(&["api", "--address", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
    assert_eq!(run.code, Some(8), "{run:?}");
    assert!(run.err.contains("the route for /a: limit") && run.err.contains("gateway.toml"), "{run:?}");
}

#[test]
fn a_method_says_by_its_labels_which_requests_are_for_it() {
    let place = Place::new();
    let services = Services::new(&place);
    shop::open(&services);
    let labelled = |name: &str, labels: &[(&str, &str)]| {
        let mut method = Method::new(name);
        method.metadata.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        method
    };
    let record = Record::new("pages")
        .method(labelled(
            "Pages.Show",
            &[("path", "^/welcome$,^/p/[0-9]+$"), ("method", "GET"), ("handler", "http")],
        ))
        .method(labelled("Pages.Broken", &[("path", "(")]));
    services.serve(record, |request| async move {
        Response::new(Body::new(format!("page {}", request.uri().path())))
    });
    let face = Face::start(&place, &[]);
    wait_until("what is announced does not hold", || face.get("/welcome").status == 200);
    assert_eq!(face.get("/p/7").text(), "page /p/7");
    assert_eq!(face.get("/p/x").status, 404);
    assert_eq!(face.ask("POST", "/welcome", "", b"").status, 404);
}
