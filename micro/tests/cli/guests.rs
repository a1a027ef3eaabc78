//! What those who are not at this machine's keyboard learn of it: nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::program::Place;

/// Says `line` at the terminal of the dashboard that listens at `address`.
fn type_there(address: &str, line: &str) -> String {
    let form = format!("line={}", line.replace(' ', "+"));
    let mut stream = TcpStream::connect(address).unwrap();
    let length = form.len();
    write!(
        stream,
        "POST /cli HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n{form}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn nobody_in_a_chat_or_at_a_page_is_told_what_is_in_a_file() {
    let place = Place::new();
    std::fs::write(place.path("secret"), "hunter2").unwrap();
    let file = place.path("secret").display().to_string();
    let mut web = place.start(&["web", "--address", "127.0.0.1:0"]);
    let line = web.line();
    let address = line.strip_prefix("web listens on http://").unwrap();
    for line in [
        format!("describe echo --proto {file}"),
        format!("describe echo --protoset {file}"),
        format!("describe echo --protoset-out {file}"),
        format!("publish orders @{file}"),
        "publish orders -".to_owned(),
        format!("register @{file}"),
        format!("call echo Unary -H @{file}"),
        format!("call echo Unary @{file}"),
    ] {
        let bot = place.feed(&["bot", "--changers", "*"], &format!("{line}\n")).out;
        for said in [bot, type_there(address, &line)] {
            let refused = said.contains(" a file here") || said.contains("there is no service \"echo\"");
            assert!(refused && !said.contains("hunter2"), "{line}: {said}");
        }
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "hunter2");
}

#[test]
fn in_a_chat_json_needs_no_quotes() {
    let place = Place::new();
    let line = r#"register {"name":"greeter","nodes":[{"id":"g","address":"127.0.0.1:1"}]} --ttl 0"#;
    let said = place.feed(&["bot", "--changers", "*"], &format!("{line}\n")).out;
    assert!(said.contains("registered greeter"), "{said}");
    let said = place.feed(&["bot"], "list nothing\n").out;
    assert_eq!(
        said,
        "error executing cmd: invalid value 'nothing' for '[services]' [possible values: services]\n"
    );
}
