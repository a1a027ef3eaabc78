//! Calling methods, and asking what they are.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::echo::Echo;
use crate::peer::{PROTO, Reflection, set};

#[test]
fn a_method_is_called_in_every_way_to_write_it() {
    let echo = Echo::new();
    let ways: [&[&str]; 8] = [
        &["call", "echo", "Echo.Unary", r#"{"text":"hi","number":"7"}"#],
        &["query", "echo", "Unary", r#"{"text":"#, r#""hi","number":7}"#],
        &["call", "echo/test.v1.Echo/Unary", "text=hi", "number:=7"],
        &["call", &echo.address, "/test.v1.Echo/Unary", r#"{"text":"hi","number":7}"#],
        &["call", &format!("http://{}/Echo.Unary", echo.address), r#"{"text":"hi","number":7}"#],
        &["call", "echo", "Unary", "-d", r#"{"text":"hi","number":7}"#],
        &["call", "echo", "Unary", "--address", &echo.address, r#"{"text":"hi","number":7}"#],
        &["stream", "echo", "Unary", r#"{"text":"hi","number":7}"#],
    ];
    for way in ways {
        assert_eq!(echo.place.ok(way), "{\n\t\"text\": \"hi\",\n\t\"number\": \"7\"\n}\n", "{way:?}");
    }
    let json = echo.place.ok(&["call", "echo", "Unary", "text=hi", "--output", "json"]);
    assert_eq!(json, "{\"text\":\"hi\"}\n");
    let yaml = echo.place.ok(&["call", "echo", "Unary", "text=hi", "--output", "yaml"]);
    assert_eq!(yaml, "text: hi\n");
    let chosen =
        echo.place.ok(&["call", "echo", "Unary", "text=hi", "number:=7", "-o", "json", "--fields", "number"]);
    assert_eq!(chosen, "{\"number\":\"7\"}\n");
}

#[test]
fn streams_go_both_ways_a_document_each() {
    let echo = Echo::new();
    let many = echo.place.ok(&["stream", "echo", "Many", r#"{"number":2,"text":"x"}"#, "-o", "json"]);
    assert_eq!(many, "{\"text\":\"x\"}\n{\"text\":\"x\",\"number\":\"1\"}\n");
    let two = "{\"number\":40,\"text\":\"x\"}\n{\"number\":2,\n\"text\":\"x\"}";
    let sum = echo.place.feed(&["call", "echo", "Sum", "-d", "-", "-o", "json"], two);
    assert_eq!((sum.code, sum.out.as_str()), (Some(0), "{\"text\":\"x\",\"number\":\"42\"}\n"), "{sum:?}");
    std::fs::write(echo.place.path("two.json"), two).unwrap();
    let file = format!("@{}", echo.place.path("two.json").display());
    assert_eq!(echo.place.ok(&["call", "echo", "Chat", &file, "-o", "ndjson"]).lines().count(), 2);
}

#[test]
fn a_conversation_is_answered_while_its_input_is_open() {
    let echo = Echo::new();
    let mut chat = echo.place.command(&["call", "echo", "Chat", "-d", "-", "-o", "json"]);
    let mut chat = chat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = chat.stdin.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(chat.stdout.take().unwrap()));
    for word in ["first", "second"] {
        input.write_all(format!("{{\"text\":\"{word}\"}}\n").as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), format!("{{\"text\":\"{word}\"}}"));
    }
    drop(input);
    assert!(lines.next().is_none());
    assert_eq!(chat.wait().unwrap().code(), Some(0));
}

#[test]
fn one_endpoint_is_aimed_at_and_each_is_asked() {
    let echo = Echo::new();
    for id in ["a", "b"] {
        let answer = echo.place.ok(&["call", "echo", "Unary", "--endpoint", id, "-o", "json"]);
        assert_eq!(answer, format!("{{\"text\":\"{id}\"}}\n"));
    }
    let each = echo.place.ok(&["call", "echo", "Unary", "--each-node"]);
    let rows: Vec<_> = each.lines().map(|row| row.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(rows[0], ["ENDPOINT", "ADDRESS", "LATENCY", "ANSWER"]);
    let ends = |row: &[&str]| (row[0].to_owned(), row.last().unwrap().to_string());
    assert_eq!(ends(&rows[1]), ("a".into(), r#"{"text":"a"}"#.into()));
    assert_eq!(ends(&rows[2]), ("b".into(), r#"{"text":"b"}"#.into()));
}

#[test]
fn of_each_endpoint_that_is_not_reached_it_is_said_at_once_why() {
    let echo = Echo::new();
    // Nobody listens on port 1.
    echo.place.ok(&["register", "echo", "--address", "127.0.0.1:1", "--id", "gone", "--ttl", "0"]);
    let run = echo.place.run(&["call", "echo", "Unary", "--each-node", "-o", "json"]);
    assert_eq!(run.code, Some(78), "{run:?}");
    let rows: Value = serde_json::from_str(&run.out).unwrap();
    let texts: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["answers"][0]["text"]).collect();
    assert_eq!(texts, [&json!("a"), &json!("b"), &Value::Null], "{run:?}");
    let error = rows[2]["error"].as_str().unwrap();
    assert!(error.contains("Connection refused") && !error.contains("became ready within"), "{error}");
}

#[test]
fn who_answered_is_told_to_those_who_ask() {
    let echo = Echo::new();
    let run = echo.place.run(&["call", "echo", "Unary", "--endpoint", "a", "-v", "-o", "json"]);
    assert_eq!(run.out, "{\"text\":\"a\"}\n");
    assert!(run.err.starts_with(&format!("endpoint a: {}\nheader ", echo.address)), "{run:?}");
    let run = echo.place.run(&["call", "echo", "Fail", "number:=5", "--endpoint", "a", "-v"]);
    assert_eq!(run.code, Some(69), "{run:?}");
    let told = run.err.split_once("error: ").unwrap().0;
    assert!(told.starts_with("endpoint a: ") && told.contains("\ntrailer "), "{run:?}");
}

#[test]
fn every_status_is_an_exit_code_and_says_whom_it_was_about() {
    let echo = Echo::new();
    for (number, name) in
        [(3, "INVALID_ARGUMENT"), (5, "NOT_FOUND"), (7, "PERMISSION_DENIED"), (16, "UNAUTHENTICATED")]
    {
        let run = echo.place.run(&["call", "echo", "Fail", &format!("number:={number}")]);
        assert_eq!((run.code, run.out.as_str()), (Some(64 + number), ""), "{run:?}");
        assert!(run.err.contains(&format!("error: {name}: as you asked\n")), "{run:?}");
        assert!(
            run.err.contains("tried: to call Fail of the service \"echo\", found in the registry file:"),
            "{run:?}"
        );
    }
    let run = echo.place.run(&["call", "echo", "Slow", "number:=60000", "--timeout", "100ms"]);
    assert_eq!(run.code, Some(68), "{run:?}");
    // Nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let run = echo.place.run(&["call", &nobody, "Echo.Unary"]);
    assert_eq!(run.code, Some(78), "{run:?}");
    assert!(run.err.contains(&nobody), "{run:?}");
}

#[test]
fn what_is_mistyped_is_suggested_and_what_is_wrong_is_said_before_it_is_sent() {
    let echo = Echo::new();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["call", "ehco", "Unary"], 3, "try:   micro call echo"),
        (&["call", "echo", "Unry"], 3, "try:   micro call echo test.v1.Echo/Unary"),
        (&["describe", "echo", "Wrds"], 3, "try:   micro describe echo Words"),
        (&["call", "echo"], 2, "error: require service and method"),
        (&["call", "echo", "Unary", "nmber=1"], 2, "unrecognized field name 'nmber'"),
        (&["call", "echo", "Unary", "{"], 2, "EOF"),
        (&["call", "echo", "Unary", "{}", "-d", "{}"], 2, "given twice"),
        (&["call", "echo", "Unary", "-H", "secret"], 2, "a header is NAME: VALUE"),
    ];
    for (arguments, code, why) in cases {
        let run = echo.place.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(code), ""), "{arguments:?}: {run:?}");
        assert!(run.err.contains(why) && !run.err.contains("secret"), "{arguments:?}: {run:?}");
    }
}

#[test]
fn what_is_to_be_sent_is_read_before_anybody_is_asked() {
    let place = crate::program::Place::new();
    std::fs::write(place.path("broken.json"), "{\"number\":1} {").unwrap();
    let broken = format!("@{}", place.path("broken.json").display());
    let cases: [(&[&str], &str); 6] = [
        (&["-d", "@missing"], "cannot read the request from the file \"missing\""),
        (&["@missing"], "cannot read the request from the file \"missing\""),
        (&["-H", "@missing"], "cannot read the header from the file \"missing\""),
        (&["-d", "{"], "the request is wrong: EOF"),
        (&["-d", &broken], "the request is wrong: document 2: EOF"),
        (&["-d", "{}", "{}"], "given twice"),
    ];
    for (given, why) in cases {
        // Nobody listens at the one, and nobody has the other.
        for target in ["127.0.0.1:1", "nobody"] {
            let run = place.run(&[&["call", target, "Echo.Unary"], given].concat());
            assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{target} {given:?}: {run:?}");
            assert!(run.err.contains(why), "{target} {given:?}: {run:?}");
        }
    }
}

#[test]
fn headers_go_there_and_come_back_beside_the_data() {
    let echo = Echo::new();
    std::fs::write(echo.place.path("headers"), "x-token: from-a-file\n").unwrap();
    let file = format!("@{}", echo.place.path("headers").display());
    for (header, value) in [("x-token: given", "given"), (&file, "from-a-file")] {
        let run = echo.place.run(&["call", "echo", "Unary", "text=hi", "-H", header, "-v", "-o", "json"]);
        assert_eq!((run.code, run.out.as_str()), (Some(0), "{\"text\":\"hi\"}\n"), "{run:?}");
        assert!(run.err.contains(&format!("header x-token: {value}\n")), "{run:?}");
    }
}

#[test]
fn without_reflection_files_say_what_can_be_called() {
    let echo = Echo::with(Reflection::None);
    let run = echo.place.run(&["call", "echo", "Unary"]);
    assert_eq!(run.code, Some(64 + 12), "{run:?}");
    assert!(run.err.contains("try:   --proto FILE or --protoset FILE"), "{run:?}");
    std::fs::write(echo.place.path("echo.proto"), PROTO).unwrap();
    std::fs::write(echo.place.path("echo.bin"), set()).unwrap();
    let path = |name: &str| echo.place.path(name).display().to_string();
    for (flag, file) in [("--proto", path("echo.proto")), ("--protoset", path("echo.bin"))] {
        let answer = echo.place.ok(&["call", "echo", "Unary", "text=hi", "-o", "json", flag, &file]);
        assert_eq!(answer, "{\"text\":\"hi\"}\n");
    }
    std::fs::write(echo.place.path("bad.proto"), "syntax = 'proto3';\nmessage {").unwrap();
    let run = echo.place.run(&["call", "echo", "Unary", "--proto", &path("bad.proto")]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("bad.proto"), "{run:?}");
}

#[test]
fn a_service_describes_itself_as_a_proto_would() {
    let echo = Echo::new();
    let service = echo.place.ok(&["describe", "echo"]);
    assert!(
        service.contains("service Echo {\n  rpc Unary(test.v1.Words) returns (test.v1.Words);\n"),
        "{service}"
    );
    let method = echo.place.ok(&["describe", "echo", "Chat", "--template"]);
    assert!(
        method.starts_with("rpc Chat(stream test.v1.Words) returns (stream test.v1.Words);\n"),
        "{method}"
    );
    assert!(method.contains("  map<string, int32> counts = 4;\n"), "{method}");
    assert!(method.contains("\"mood\": \"MOOD_UNSPECIFIED\""), "{method}");
    assert!(echo.place.ok(&["describe", "echo", "Mood"]).contains("MOOD_GOOD = 1;"));
    let json = echo.place.ok(&["describe", "echo", "-o", "json", "--fields", "name,kind"]);
    assert!(json.contains("\"name\": \"test.v1.Echo\",\n    \"kind\": \"service\""), "{json}");
}

#[test]
fn what_a_service_says_of_itself_is_written_down_for_those_who_cannot_ask() {
    let echo = Echo::new();
    let file = echo.place.path("said.protoset").display().to_string();
    let described = echo.place.ok(&["describe", "echo", "--protoset-out", &file]);
    assert_eq!(described, echo.place.ok(&["describe", "echo"]));
    // Nobody is asked for it.
    let nobody = ["describe", "127.0.0.1:1", "test.v1.Echo", "--protoset", &file];
    let again = echo.place.ok(&nobody);
    assert!(again.contains("rpc Unary(test.v1.Words) returns (test.v1.Words);"), "{again}");
    let call = ["call", &echo.address, "Unary", "text=hi", "--protoset", &file, "-o", "json"];
    assert_eq!(echo.place.ok(&call), "{\"text\":\"hi\"}\n");
    let run = echo.place.run(&["describe", "echo", "--protoset-out", "/no/such/dir/it"]);
    assert!(run.code == Some(1) && run.err.contains("cannot write /no/such/dir/it"), "{run:?}");
}

#[test]
fn what_a_server_says_more_of_a_failure_is_shown() {
    let echo = Echo::new();
    let run = echo.place.run(&["call", "echo", "Echo.Fail", "number:=3", "text=details"]);
    assert_eq!(run.code, Some(67), "{run:?}");
    assert!(run.err.contains("error: INVALID_ARGUMENT: as you asked\n"), "{run:?}");
    let detail = run.err.lines().find_map(|line| line.strip_prefix("detail: ")).unwrap();
    let detail: serde_json::Value = serde_json::from_str(detail).unwrap();
    assert_eq!(detail["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(detail["fieldViolations"][0]["description"], "too long", "{detail}");
}

#[test]
fn a_timeout_longer_than_the_header_can_say_is_a_long_one() {
    let echo = Echo::new();
    let out = echo.place.ok(&[
        "call",
        "echo",
        "Unary",
        "text=hi",
        "--timeout",
        "18446744073709551615s",
        "-o",
        "json",
    ]);
    assert_eq!(out, "{\"text\":\"hi\"}\n");
}

#[test]
fn an_address_that_is_given_is_the_one_that_was_tried() {
    let echo = Echo::new();
    let run = echo.place.run(&["call", "echo", "Unary", "--address", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(78), "{run:?}");
    assert!(run.err.contains("tried: to call Unary at 127.0.0.1:1\n"), "{run:?}");
    assert!(run.err.contains("try:   another address"), "{run:?}");
}

#[test]
fn what_can_be_asked_is_described_with_something_to_fill_in() {
    let echo = Echo::new();
    let all = echo.place.ok(&["describe", "echo", "--template", "-o", "json"]);
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all.pointer("/0/template/Unary/text"), Some(&"".into()), "{all}");
}

#[test]
fn of_several_documents_the_wrong_one_is_named() {
    let echo = Echo::new();
    let run =
        echo.place.feed(&["call", "echo", "Sum", "-d", "-"], "{\"number\":1}\n{}\n{\"number\":\"x\"}\n");
    assert_eq!(run.code, Some(2), "{run:?}");
    let why = "error: the request is wrong: document 3: not the JSON of test.v1.Words: \"x\" is not a number at line 1";
    assert!(run.err.starts_with(why), "{run:?}");
}
