//! `/rpc`: calls by name.

use serde_json::json;

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;
use crate::shop;

#[test]
fn a_method_is_called_by_name_in_json_or_by_a_form() {
    let place = Place::new();
    let services = Services::new(&place);
    let address = shop::open(&services).to_string();
    let face = Face::start(&place, &[]);
    let json = |body: serde_json::Value| {
        face.ask(
            "POST",
            "/rpc",
            "content-type: application/json; charset=utf-8\r\n",
            body.to_string().as_bytes(),
        )
    };

    let answer = json(
        json!({"service": "shop", "method": "Shop.Plain", "request": {"count": 9_007_199_254_740_993_u64}}),
    );
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json")),
        "{}",
        answer.text()
    );
    assert_eq!(answer.text(), r#"{"count":"9007199254740993"}"#);
    assert!(answer.header("content-length").is_some());
    let answer = json(
        json!({"SERVICE": "shop", "endpoint": "Shop.Plain", "request": "{\"name\":\"a\"}", "address": address}),
    );
    assert_eq!(answer.text(), r#"{"name":"a"}"#);
    let form = "service=shop&method=Shop.Plain&request=%7B%22name%22%3A%22a%22%7D";
    let answer =
        face.ask("POST", "/rpc", "content-type: application/x-www-form-urlencoded\r\n", form.as_bytes());
    assert_eq!(answer.text(), r#"{"name":"a"}"#);

    assert_eq!(face.get("/rpc").status, 405);
    for (body, code, detail) in [
        (json!({"method": "Shop.Plain"}), 400, "invalid service"),
        (json!({"service": "shop"}), 400, "invalid method"),
        (
            json!({"service": "shop", "method": "Shop.Plain", "request": "{"}),
            400,
            "error decoding request string: ",
        ),
        (json!({"service": "unknown", "method": "A.B"}), 404, "service unknown is not registered"),
        (
            json!({"service": "shop", "method": "Shop.Plain", "request": {"nothing": 1}}),
            400,
            "error during request: ",
        ),
        (json!({"service": "shop", "method": "Shop.Nothing"}), 501, "error during request: "),
        (
            json!({"service": "shop", "method": "Shop.Plain", "address": "169.254.169.254:80"}),
            404,
            "service shop has no endpoint 169.254.169.254:80",
        ),
    ] {
        let answer = json(body.clone());
        assert_eq!(answer.status, code, "{body} {}", answer.text());
        let fault = answer.json();
        assert_eq!((&fault["id"], &fault["code"]), (&"go.micro.rpc".into(), &code.into()));
        assert!(fault["detail"].as_str().unwrap().starts_with(detail), "{fault}");
    }
    let failing = face.ask(
        "POST",
        "/rpc",
        "content-type: application/json\r\nx-fail: 5\r\n",
        br#"{"service":"shop","method":"Shop.Plain"}"#,
    );
    assert_eq!(
        (failing.status, &failing.json()["detail"]),
        (404, &"error during request: NOT_FOUND: as you asked".into())
    );
}
