//! Answers as services may give them: early, odd, in part, or not at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;

/// A service that says `said` whatever it is asked, before it has read more than the head, and then closes.
fn parrot(services: &Services, name: &str, said: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    services.announce(name, listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap(), said));
        }
    });
}

fn answer(mut stream: TcpStream, said: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.extend(byte);
    }
    let _ = stream.write_all(said.as_bytes());
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // To close with something unread would take the answer back.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Says what it has read.
fn repeater(services: &Services, name: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    services.announce(name, listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || repeat(stream.unwrap()));
        }
    });
}

/// What comes is short, and ends with an empty line, or with `hi`.
fn repeat(mut stream: TcpStream) {
    let (mut heard, mut some) = (Vec::new(), [0; 4096]);
    let whole = |heard: &[u8]| {
        let text = String::from_utf8_lossy(heard).to_lowercase();
        let ends: &[&str] =
            if text.contains("chunked") { &["0\r\n\r\n", "x-sum: 2\r\n\r\n"] } else { &["\r\n\r\n", "hi"] };
        let expected = if text.contains("content-length") { &ends[1..] } else { ends };
        expected.iter().any(|end| text.ends_with(end))
    };
    while !whole(&heard) {
        match stream.read(&mut some) {
            Ok(read @ 1..) => heard.extend(&some[..read]),
            _ => return,
        }
    }
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n";
    let _ = stream.write_all(format!("{head}{:x}\r\n", heard.len()).as_bytes());
    let _ = stream.write_all(&heard);
    let _ = stream.write_all(b"\r\n0\r\nx-end: yes\r\ncontent-length: 7\r\n\r\n");
}

#[test]
fn what_surrounds_a_request_and_its_answer_goes_as_far_as_it_should() {
    let place = Place::new();
    let services = Services::new(&place);
    repeater(&services, "repeater");
    let face = Face::start(&place, &[]);
    let say = |request: &str| String::from_utf8_lossy(&face.say(request)).to_lowercase();

    let expects = "POST /repeater/x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    let mut stream = face.connect();
    stream.write_all(expects.as_bytes()).unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\r\n\r\nhi\r\n0\r\n") && !rest.contains("expect"), "{rest}");

    let chunks = "transfer-encoding: chunked\r\ntrailer: x-sum\r\nte: trailers\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 2\r\nhost: b\r\n\r\n";
    let trailed = say(&format!("POST /repeater/x HTTP/1.1\r\nhost: a\r\n{chunks}"));
    assert!(trailed.contains("\r\n0\r\nx-sum: 2\r\n\r\n") && !trailed.contains("host: b"), "{trailed}");
    assert!(trailed.ends_with("\r\n0\r\nx-end: yes\r\n\r\n"), "no length behind the end: {trailed}");

    let old = say("GET /repeater/x HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("http/1.0 200 ") && !old.contains("chunked"), "{old}");
    assert!(old.contains("get /repeater/x http/1.1\r\n") && !old.contains("x-forwarded-host"), "{old}");
    let two = say(
        "GET /repeater/1 HTTP/1.1\r\nhost: a\r\n\r\nGET /repeater/2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    );
    assert!(two.find("/repeater/1").unwrap() < two.find("/repeater/2").unwrap(), "{two}");
    let socket =
        "GET /repeater/x HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n\r\n";
    let refused = say(socket);
    assert!(refused.starts_with("http/1.1 200 ") && refused.contains("upgrade: websocket"), "{refused}");
}

#[test]
fn each_is_passed_on_as_far_as_it_can_be_read_and_no_client_mistakes_where_it_ends() {
    let invalid = "what it said is not valid HTTP/1.1";
    let cases = [
        (
            "hints",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            200,
            "ok",
        ),
        ("until", "HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end"),
        (
            "lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
            "hello",
        ),
        (
            "more",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
            200,
            "ok",
        ),
        ("none", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nwrong", 204, ""),
        ("same", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, ""),
        ("early", "HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge", 413, "large"),
        ("part", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nin part", 200, "in part"),
        ("chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, "hello"),
        ("size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n", 502, "chunk"),
        ("head", "HTTP/1.1 200 OK\r\ncontent-le", 502, "connection closed"),
        ("ssh", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 502, invalid),
        ("twice", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nhello", 502, invalid),
        (
            "switch",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            502,
            "was not asked to",
        ),
        ("silent", "", 502, "connection closed"),
    ];
    let place = Place::new();
    let services = Services::new(&place);
    cases.iter().for_each(|(name, said, ..)| parrot(&services, name, said));
    let face = Face::start(&place, &["--timeout", "20s"]);
    let large = vec![b'x'; 3_000_000];
    for (name, _, status, text) in cases {
        let answer = match name {
            "early" => face.ask("POST", "/early/x", "", &large),
            name => face.get(&format!("/{name}/x")),
        };
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        match status {
            502 => assert!(answer.text().contains(text), "{name}: {answer:?}"),
            _ => assert_eq!(answer.text(), text, "{name}"),
        }
        let chunked = answer.header("transfer-encoding").is_some();
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        assert!(!(chunked && length.is_some()), "{name}: {answer:?}");
        match (name, length) {
            // It broke off, and so does ours.
            ("part", length) => assert_eq!(length, Some(9)),
            (name, Some(length)) if status != 304 => assert_eq!(length, answer.body.len(), "{name}"),
            _ => {}
        }
    }
    let head = face.ask("HEAD", "/more/x", "", b"");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("2"), 0));
    let whole = face.say("GET /chunk/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(
        !whole.ends_with(b"0\r\n\r\n"),
        "nobody said that it was all: {}",
        String::from_utf8_lossy(&whole)
    );
}
