//! What the gateway says of itself.

use std::fs;
use std::time::Duration;

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;

#[test]
fn it_says_that_it_lives_and_what_it_did() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let face = Face::start(&place, &[]);
    face.until("/readyz", 200);
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!((face.get(path).status, face.get(path).text().as_str()), (200, "ok\n"), "{path}");
    }
    assert_eq!(face.ask("POST", "/healthz", "", b"").status, 405);
    assert_eq!((face.get("/foo/x").status, face.get("/unknown/x").status), (200, 404));

    let metrics = face.get("/metrics").text();
    let counted = r#"micro_gateway_requests_total{service="foo",status="2xx"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    let timed = r#"micro_gateway_request_duration_seconds_bucket{service="foo",le="10"} 1"#;
    assert!(metrics.lines().any(|line| line == timed), "{metrics}");
    assert!(!metrics.contains("unknown"), "names that nobody has are not counted: {metrics}");

    let stats = face.ask("GET", "/stats", "content-type: application/json\r\n", b"").json();
    let last = stats["counters"].as_array().unwrap().iter();
    let sum =
        |code: &str| last.clone().map(|count| count["status_codes"][code].as_u64().unwrap()).sum::<u64>();
    assert!(sum("20x") >= 7 && sum("40x") == 2, "{stats}");
    assert!(stats["started"].as_u64().unwrap() > 0 && stats["memory"].as_str().unwrap().ends_with("mb"));
    assert!(face.get("/stats").text().contains("<table>"));
}

#[test]
fn it_is_ready_once_the_registry_has_answered_and_stays_so() {
    let place = Place::new();
    let registry = place.path("registry");
    fs::write(&registry, "no directory").unwrap();
    let face = Face::start(&place, &[]);
    let answer = face.get("/readyz");
    assert_eq!((answer.status, answer.text().as_str()), (503, "the registry has not answered yet\n"));
    assert_eq!((face.get("/livez").status, face.get("/healthz").status), (200, 200));
    fs::remove_file(&registry).unwrap();
    fs::create_dir(&registry).unwrap();
    face.until("/readyz", 200);
    fs::remove_dir_all(&registry).unwrap();
    fs::write(&registry, "no directory").unwrap();
    // Longer than between two questions to the registry.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(face.get("/foo/x").status, 503, "the registry cannot say");
    assert_eq!(face.get("/readyz").status, 200);
}

#[test]
fn a_line_is_written_per_request() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let mut face = Face::start(&place, &["--access-log", "combined"]);
    face.ask("GET", "/foo/x?y", "user-agent: a \"test\"\r\nx-request-id: mine\r\n", b"");
    face.signal(rustix::process::Signal::TERM);
    let (code, rest) = face.end();
    assert_eq!(code, Some(0));
    let line = rest.lines().next().unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("\"GET /foo/x?y HTTP/1.1\" 200 ") && line.contains(r#""a \"test\"""#), "{line}");
    assert!(line.ends_with(" mine"), "{line}");
}

#[test]
fn a_line_per_request_is_an_object_in_json() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let mut face = Face::start(&place, &["--access-log", "json"]);
    face.ask("GET", "/foo/x?y", "user-agent: a \"test\"\r\nx-request-id: mine\r\n", b"");
    face.get("/unknown/x");
    face.signal(rustix::process::Signal::TERM);
    let (code, rest) = face.end();
    assert_eq!(code, Some(0));
    let lines: Vec<serde_json::Value> =
        rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second] = lines.as_slice() else { panic!("{rest}") };
    assert_eq!(
        (&first["request"], &first["status"]),
        (&"GET /foo/x?y HTTP/1.1".into(), &200.into()),
        "{first}"
    );
    assert_eq!(
        (&first["user_agent"], &first["request_id"]),
        (&"a \"test\"".into(), &"mine".into()),
        "{first}"
    );
    assert_eq!(second["status"], 404, "{second}");
}
