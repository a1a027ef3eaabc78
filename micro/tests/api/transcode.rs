//! JSON through the gateway to gRPC.

use serde_json::json;

use crate::face::Answer;
use crate::shop;

#[test]
fn paths_queries_and_bodies_become_messages() {
    let (_place, _services, face) = shop::behind_a_gateway();
    let cases = [
        ("GET", "/v1/items/a%20b", "", json!({"name": "items/a b"})),
        ("GET", "/v1/shelves/1/items/a/b", "", json!({"name": "shelves/1/items/a/b"})),
        ("GET", "/v1/parts/x%2Fy", "", json!({"part": {"name": "x/y"}})),
        (
            "GET",
            "/v1/items/a?count=9007199254740993&price=0.1&tags=x+y&tags=z&sold=true&size=LARGE&part.count=-5&data=AQI%3D",
            "",
            json!({"name": "items/a", "count": "9007199254740993", "price": 0.1, "tags": ["x y", "z"], "sold": true,
                "size": "LARGE", "part": {"count": "-5"}, "data": "AQI="}),
        ),
        (
            "GET",
            "/v1/items/a?at=2020-01-02T03:04:05Z&maybe=7&sizes=1&sizes=LARGE",
            "",
            json!({"name": "items/a", "at": "2020-01-02T03:04:05Z", "maybe": 7, "sizes": ["SMALL", "LARGE"]}),
        ),
        (
            "PUT",
            "/v1/items/a",
            r#"{"name":"other","labels":{"k":"v"}}"#,
            json!({"name": "items/a", "labels": {"k": "v"}}),
        ),
        ("PUT", "/v1/items/a", "", json!({"name": "items/a"})),
        (
            "PATCH",
            "/v1/items/a",
            r#"{"count":1,"part":{"weight":2},"updateMask":""}"#,
            json!({"name": "items/a", "part": {"count": "1", "part": {"weight": 2.0}, "updateMask": ""}, "updateMask": "count,part.weight,updateMask"}),
        ),
        (
            "PATCH",
            "/v1/items/a?update_mask=sold",
            r#"{"count":1}"#,
            json!({"name": "items/a", "part": {"count": "1"}, "updateMask": "sold"}),
        ),
        ("POST", "/v1/tags", r#"["a","b"]"#, json!(["a", "b"])),
        ("POST", "/v1/tags", "[]", json!([])),
        ("POST", "/v1/items/a:buy", r#"{"part":{"count":3}}"#, json!({"count": "3"})),
        ("POST", "/v1/items/a:buy", "{}", json!(null)),
        ("SEARCH", "/v1/items", "", json!({})),
        ("POST", "/shop.v1.Shop/Plain", r#"{"count":"3"}"#, json!({"count": "3"})),
        ("POST", "/shop/shop/plain", r#"{"count":"3"}"#, json!({"count": "3"})),
        ("POST", "/shop/Shop.Plain", r#"{"count":"3"}"#, json!({"count": "3"})),
        ("GET", "/shop/shop/plain?count=3", "", json!({"count": "3"})),
    ];
    for (method, path, body, expected) in cases {
        let answer = face.ask(method, path, "content-type: application/json\r\n", body.as_bytes());
        assert_eq!(answer.status, 200, "{method} {path} {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json(), expected, "{method} {path}");
    }
}

#[test]
fn another_verb_is_told_which_ones_the_path_is_for() {
    let (_place, _services, face) = shop::behind_a_gateway();
    for verb in ["HEAD", "DELETE", "OPTIONS"] {
        let answer = face.ask(verb, "/v1/items/a", "", b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("get, patch, put")), "{answer:?}");
    }
    assert_eq!(face.get("/v1/nothing/a/b/c").status, 404);
}

#[test]
fn numbers_come_back_to_the_bit() {
    let (_place, _services, face) = shop::behind_a_gateway();
    for (sent, expected) in [
        (r#"{"price":0.30000000000000004}"#, r#"{"price":0.30000000000000004}"#),
        (r#"{"price":5e-324}"#, r#"{"price":5e-324}"#),
        (r#"{"price":1.7976931348623157e308}"#, r#"{"price":1.7976931348623157e308}"#),
        (r#"{"price":2.22507e-308}"#, r#"{"price":2.22507e-308}"#),
        (r#"{"price":-0,"part":{"weight":-0.0}}"#, r#"{"price":-0.0,"part":{"weight":-0.0}}"#),
        (r#"{"weight":0.1}"#, r#"{"weight":0.1}"#),
        (r#"{"price":"NaN"}"#, r#"{"price":"NaN"}"#),
        (r#"{"count":-9223372036854775808}"#, r#"{"count":"-9223372036854775808"}"#),
    ] {
        let answer =
            face.ask("POST", "/shop.v1.Shop/Plain", "content-type: application/json\r\n", sent.as_bytes());
        assert_eq!(answer.text().replace("e+", "e"), expected);
    }
    assert_eq!(face.get("/v1/items/a?price=-0").json(), json!({"name": "items/a", "price": -0.0}));
}

#[test]
fn what_is_not_the_methods_is_refused() {
    let (_place, _services, face) = shop::behind_a_gateway();
    let plain = "/shop.v1.Shop/Plain";
    for (method, path, body, status, code) in [
        ("GET", "/v1/items/a?nothing=1", "", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/items/a?count=x", "", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/items/a?count=1&count=2", "", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/items/a?part=x", "", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/items/a?sold=yes", "", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/items/a?size=HUGE", "", 400, "INVALID_ARGUMENT"),
        ("POST", plain, r#"{"nothing":1}"#, 400, "INVALID_ARGUMENT"),
        ("POST", plain, "{'name':'a'}", 400, "INVALID_ARGUMENT"),
        ("POST", plain, r#"{"name":"a",}"#, 400, "INVALID_ARGUMENT"),
        ("POST", plain, "{\"name\":\"a\nb\"}", 400, "INVALID_ARGUMENT"),
        ("POST", plain, r#"{"name":"a"}x"#, 400, "INVALID_ARGUMENT"),
        ("POST", plain, "[]", 400, "INVALID_ARGUMENT"),
        ("POST", "/v1/tags", r#"["a"],"name":"b""#, 400, "INVALID_ARGUMENT"),
        ("POST", "/shop.v1.Shop/Send", r#"[{"name":"a"},{"nothing":1}]"#, 400, "INVALID_ARGUMENT"),
    ] {
        let answer = face.ask(method, path, "content-type: application/json\r\n", body.as_bytes());
        assert_eq!(answer.status, status, "{path} {body} {}", answer.text());
        assert_eq!(answer.json()["status"], code, "{path} {body}");
    }
    // Nothing of the body is read, so nothing is sent.
    let long =
        format!("POST {plain} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5242880\r\n\r\n");
    assert_eq!(Answer::of(&face.say(long)).status, 413);
    assert_eq!(
        face.ask("POST", "/shop.v1.Shop/Nothing", "content-type: application/json\r\n", b"{}").status,
        404
    );
}

#[test]
fn statuses_are_what_grpc_gateway_says_and_metadata_travels() {
    let (_place, _services, face) = shop::behind_a_gateway();
    for (code, status) in [
        (1, 499),
        (2, 500),
        (3, 400),
        (4, 504),
        (5, 404),
        (6, 409),
        (7, 403),
        (8, 429),
        (9, 400),
        (10, 409),
        (11, 400),
        (12, 501),
        (13, 500),
        (14, 503),
        (15, 500),
        (16, 401),
    ] {
        let answer = face.ask("GET", "/v1/items/a", &format!("x-fail: {code}\r\n"), b"");
        assert_eq!(answer.status, status, "{code}");
        assert_eq!(
            (&answer.json()["code"], &answer.json()["message"]),
            (&code.into(), &"as you asked".into())
        );
    }
    let answer = face.ask("GET", "/v1/items/a", "grpc-metadata-x-token: t\r\n", b"");
    assert_eq!(answer.header("x-token"), Some("t"));
}

#[test]
fn several_answers_are_lines_events_or_an_array() {
    let (_place, _services, face) = shop::behind_a_gateway();
    let ask = |accept: &str, fail: &str| {
        face.ask("GET", "/v1/items?name=a", &format!("accept: {accept}\r\n{fail}"), b"")
    };
    let lines = ask("*/*", "");
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.text(), "{\"result\":{\"name\":\"a\"}}\n".repeat(2));
    let array = ask("application/json", "");
    assert_eq!(array.json(), json!([{"name": "a"}, {"name": "a"}]));
    let events = ask("text/event-stream", "");
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.text(), "id: 1\ndata: {\"name\":\"a\"}\n\nid: 2\ndata: {\"name\":\"a\"}\n\n");

    let last = ask("application/x-ndjson", "x-fail: 10\r\n").text();
    let last: serde_json::Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!((&last["error"]["code"], &last["error"]["status"]), (&10.into(), &"ABORTED".into()));
    assert_eq!(ask("application/json", "x-fail: 10\r\n").json()[2]["error"]["code"], 10);
    assert!(ask("text/event-stream", "x-fail: 10\r\n").text().contains("event: error\ndata: {"));
}

#[test]
fn a_file_in_pieces_is_their_bytes_and_breaks_off_where_the_call_fails() {
    let (_place, _services, face) = shop::behind_a_gateway();
    for accept in ["", "accept: text/event-stream\r\n", "accept: application/json\r\n"] {
        let headers = format!("content-type: image/png\r\n{accept}");
        let answer = face.ask("POST", "/v1/downloads/a", &headers, b"\x89PNG");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")));
        assert_eq!(answer.body, b"\x89PNG\x89PNG", "{answer:?}");
    }
    let fail =
        "content-type: image/png\r\nx-fail: 13\r\nhost: gateway\r\nconnection: close\r\ncontent-length: 1";
    let cut = face.say(format!("POST /v1/downloads/a HTTP/1.1\r\n{fail}\r\n\r\nx"));
    let cut = String::from_utf8_lossy(&cut);
    // What had come is not always sent before the connection ends.
    assert!(cut.is_empty() || cut.starts_with("HTTP/1.1 200"), "{cut}");
    assert!(!cut.ends_with("0\r\n\r\n"), "nobody takes it for the whole: {cut}");
}

#[test]
fn a_file_is_what_it_is() {
    let (_place, _services, face) = shop::behind_a_gateway();
    let answer = face.ask("POST", "/v1/files/a", "content-type: image/png\r\n", b"\x89PNG");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{}", answer.text());
    assert_eq!(answer.body, b"\x89PNG");
}
