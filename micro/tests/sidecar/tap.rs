//! Requests through sidecars and gateways, as `micro tap` shows them.

use serde_json::Value;

use crate::echo::echo;
use crate::face::Face;
use crate::program::Place;

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn requests_are_shown_by_how_they_ended() {
    let place = Place::new();
    let _echo = echo(&place);
    let faces = ["sidecar", "api"].map(|name| Face::of(&place, name, &["--operator-address", "127.0.0.1:0"]));
    let call = |face: &Face, method: &str, body: &str| {
        face.ask("POST", &format!("/echo/{method}"), JSON, body.as_bytes())
    };
    let wanted = [
        &["tap", "--count", "1", "--failed", "-o", "json"][..],
        &["tap", "echo", "--count", "2", "--slower", "300ms", "-o", "json"],
        &["tap", "echo", "--count", "1", "--method", "Unary"],
    ];
    let mut taps = wanted.map(|arguments| place.start(arguments));
    // They begin to follow when they have found who tells: until then they have missed something.
    let began = std::time::Instant::now();
    while !taps.iter_mut().all(|tap| tap.has_ended()) {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "something is not shown");
        for face in &faces {
            assert_eq!(call(face, "unary", r#"{"text":"hi"}"#).status, 200);
            assert_eq!(call(face, "fail", r#"{"number":"13"}"#).status, 500);
            assert_eq!(call(face, "slow", r#"{"number":"300"}"#).status, 200);
        }
    }
    let [failed, slow, unary] = taps.map(|mut tap| tap.end());
    assert_eq!([failed.0.code(), slow.0.code(), unary.0.code()], [Some(0); 3]);
    let failed: Value = serde_json::from_str(&failed.1).unwrap();
    assert_eq!(
        (&failed["service"], &failed["ok"], &failed["endpoint"]),
        (&"echo".into(), &false.into(), &"echo-1".into())
    );
    let slow: Vec<Value> = slow.1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_slow = |one: &Value| {
        one["millis"].as_f64().unwrap() >= 300.0 && one["method"].as_str().unwrap().contains("Slow")
    };
    assert!(slow.len() == 2 && slow.iter().all(is_slow), "{slow:?}");
    assert!(
        unary.1.contains(" ms  echo  ") && unary.1.contains("Unary") && unary.1.contains("  at=echo-1"),
        "{}",
        unary.1
    );
}

#[test]
fn that_nobody_tells_is_said() {
    let place = Place::new();
    let mut tap = place.start(&["tap"]);
    std::thread::sleep(std::time::Duration::from_secs(4));
    tap.signal(rustix::process::Signal::TERM);
    assert_eq!(tap.end().0.code(), Some(0));
    let said = tap.errors();
    assert!(said.contains("micro api --operator-address 127.0.0.1:0"), "{said}");
}
