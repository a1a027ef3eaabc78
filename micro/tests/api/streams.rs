//! Methods that take several messages, in JSON.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::face::{Answer, Face};
use crate::program::Place;
use crate::service::Services;
use crate::shop;

/// Reads until `end` has come.
fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(end.as_bytes()) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

const TALK: &str = "POST /shop.v1.Shop/Talk HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n\
                    transfer-encoding: chunked\r\nconnection: close\r\n\r\n";

/// A gateway before a shop.
fn town() -> (Place, Services, Face) {
    let place = Place::new();
    let services = Services::new(&place);
    shop::open(&services);
    let face = Face::start(&place, &[]);
    (place, services, face)
}

#[test]
fn each_line_is_a_message_and_is_answered_before_the_next_is_said() {
    let (_place, _services, face) = town();
    let mut stream = face.connect();
    stream.write_all(TALK.as_bytes()).unwrap();
    // A message may come in pieces, and two at once.
    stream.write_all(chunk("{\"name\":").as_bytes()).unwrap();
    stream.write_all(chunk("\"one\"}\n\n{\"na").as_bytes()).unwrap();
    let first = read_to(&mut stream, "{\"result\":{\"name\":\"one\"}}\n");
    assert!(first.to_lowercase().contains("content-type: application/x-ndjson"), "{first}");
    stream.write_all(chunk("me\":\"two\"}\n{\"name\":\"three\"}").as_bytes()).unwrap();
    read_to(&mut stream, "{\"result\":{\"name\":\"two\"}}\n");
    stream.write_all(b"0\r\n\r\n").unwrap();
    read_to(&mut stream, "{\"result\":{\"name\":\"three\"}}\n");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

#[test]
fn a_line_that_is_no_message_ends_the_call() {
    let (_place, _services, face) = town();
    let mut stream = face.connect();
    stream.write_all(TALK.as_bytes()).unwrap();
    stream.write_all(chunk("{\"name\":\"one\"}\n").as_bytes()).unwrap();
    read_to(&mut stream, "{\"name\":\"one\"}}\n");
    stream.write_all(chunk("{\"nothing\":1}\n").as_bytes()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("{\"error\":{") && rest.contains("\"INVALID_ARGUMENT\""), "{rest}");
    assert!(rest.contains("line 2: "), "{rest}");

    // Before there was an answer, it is the status of the response.
    let kind = "content-type: application/x-ndjson\r\n";
    let answer = face.ask("POST", "/shop.v1.Shop/Send", kind, b"{\"name\":\"a\"}\n{");
    assert_eq!((answer.status, &answer.json()["status"]), (400, &"INVALID_ARGUMENT".into()), "{answer:?}");
}

#[test]
fn one_answer_to_many_messages_and_an_array_of_them() {
    let (_place, _services, face) = town();
    let ask = |kind: &str, body: &str| -> Answer {
        face.ask("POST", "/shop.v1.Shop/Talk", &format!("content-type: {kind}\r\n"), body.as_bytes())
    };
    let lines = ask("application/x-ndjson", "{\"name\":\"a\"}\n{\"name\":\"b\"}\n").text();
    assert_eq!(lines, "{\"result\":{\"name\":\"a\"}}\n{\"result\":{\"name\":\"b\"}}\n");
    assert_eq!(ask("application/json", "[{\"name\":\"a\"},{\"name\":\"b\"}]").text(), lines);
    assert_eq!(ask("application/json", "{\"name\":\"a\"} {\"name\":\"b\"}").text(), lines);
    let one =
        face.ask("POST", "/shop.v1.Shop/Send", "content-type: application/json\r\n", b"{\"count\":\"3\"}");
    assert_eq!((one.status, one.json()), (200, json!({"count": "3"})), "{}", one.text());
}
