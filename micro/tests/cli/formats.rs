//! Every command answers in JSON when asked to: one table for all of them.

use serde_json::Value;

use crate::echo::Echo;

#[test]
fn every_command_writes_json_when_asked_to() {
    let echo = Echo::new();
    let dir = echo.place.path("fresh").display().to_string();
    let commands: [(&[&str], &str); 25] = [
        (&["list"], "/0/name"),
        (&["list", "services"], "/0/name"),
        (&["get", "echo"], "/0/endpoints/0/id"),
        (&["get", "service", "echo"], "/0/endpoints/0/id"),
        (&["describe", "echo"], "/0/proto"),
        (&["describe", "echo", "Unary"], "/0/proto"),
        (&["call", "echo", "Unary", "text=a"], "/text"),
        (&["query", "echo", "Unary", "text=a"], "/text"),
        (&["call", "echo", "Unary", "--each-node"], "/0/answers/0/text"),
        (&["stream", "echo", "Many", "number:=1", "text=a"], "/text"),
        (&["bench", "echo", "Unary", "-n", "1"], "/latency_ms/p99"),
        (&["health", "echo"], "/0/state"),
        (&["stats", "echo"], "/0/requests"),
        (&["doctor"], "/0/check"),
        (&["top", "--count", "1"], "/0/requests"),
        (&["new", &dir], "/files/0"),
        (&["publish", "a.b", "x"], "/topic"),
        (&["register", "other", "-a", "127.0.0.1:1", "--ttl", "0"], "/service/name"),
        (&["deregister", "other", "--all"], "/service/name"),
        (&["config", "show"], "/0/origin"),
        (&["config", "validate"], "/0/origin"),
        (&["completion", "bash"], "/text"),
        (&["man"], "/text"),
        (&["version"], "/rustc"),
        (&["help", "exit-codes"], "/text"),
    ];
    for format in ["json", "ndjson"] {
        std::fs::remove_dir_all(&dir).ok();
        for (arguments, pointer) in commands {
            let out = echo.place.ok(&[arguments, &["--output", format]].concat());
            let text = if format == "json" { out.as_str() } else { out.lines().next().unwrap() };
            let value: Value =
                serde_json::from_str(text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {out}"));
            let pointer =
                if format == "json" { pointer } else { pointer.strip_prefix("/0").unwrap_or(pointer) };
            assert!(value.pointer(pointer).is_some(), "{arguments:?} {format}: {pointer} is not in {value}");
        }
    }
}

#[test]
fn names_fields_and_wide_tables_are_ways_to_see_the_same() {
    let echo = Echo::new();
    assert_eq!(echo.place.ok(&["list", "-o", "name"]), "echo\n");
    assert_eq!(echo.place.ok(&["get", "echo", "-o", "name"]), "a\nb\n");
    assert_eq!(echo.place.ok(&["list", "--fields", "endpoints,name"]), "ENDPOINTS  NAME\n2          echo\n");
    let yaml = echo.place.ok(&["list", "--fields", "name", "-o", "yaml"]);
    assert_eq!(yaml, "- name: echo\n");
    assert!(echo.place.ok(&["list", "-o", "wide"]).contains("VERSIONS"));
    let run = echo.place.run(&["list", "--fields", "nme"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("there is no field \"nme\"") && run.err.contains("--fields name"), "{run:?}");
}

#[test]
fn wide_tables_have_their_columns_in_the_order_of_the_data() {
    let echo = Echo::new();
    let wide = echo.place.ok(&["list", "-o", "wide"]);
    assert_eq!(wide, "NAME  VERSIONS  ENDPOINTS\necho  latest    2\n");
}

#[test]
fn what_a_service_can_be_asked_is_lines_in_wide_tables_too() {
    let echo = Echo::new();
    let wide = echo.place.ok(&["describe", "echo", "Unary", "-o", "wide"]);
    assert_eq!(wide, echo.place.ok(&["describe", "echo", "Unary"]));
    assert!(wide.contains("rpc Unary") && !wide.contains("\\u{a}"), "{wide}");
}

#[test]
fn what_comes_row_by_row_has_one_header() {
    let echo = Echo::new();
    let many = ["stream", "echo", "Many", "number:=2", "text=long"];
    let rows = echo.place.ok(&[&many[..], &["--fields", "text"]].concat());
    assert_eq!(rows, "TEXT\nlong\nlong\n");
}
