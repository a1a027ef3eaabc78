//! `/registry`, as clients of go-micro's sidecar use it.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::face::Face;
use crate::listen::Listening;
use crate::program::Place;

const RECORD: &[u8] = br#"{"Name":"foo.bar","Nodes":[{"Port":9091,"Address":"127.0.0.1","Id":"foo.bar-1"}]}"#;

#[test]
fn what_is_registered_is_found_until_it_is_deregistered() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    let missing = face.get("/registry?service=foo.bar");
    assert_eq!((missing.status, missing.text().trim()), (404, "Service not found"));
    assert_eq!(face.get("/registry").json(), json!([]));

    let registered = face.ask("POST", "/registry", "content-type: application/json\r\n", RECORD);
    assert_eq!((registered.status, registered.text().as_str()), (200, ""));
    let found = face.get("/registry?service=foo.bar").json();
    assert_eq!(
        found[0]["nodes"][0],
        json!({"id":"foo.bar-1","address":"127.0.0.1","port":9091,"metadata":{}})
    );
    assert_eq!(face.get("/registry").json()[0]["name"], "foo.bar");

    assert_eq!(face.ask("DELETE", "/registry", "", RECORD).status, 200);
    assert_eq!(face.get("/registry?service=foo.bar").status, 404);
    assert_eq!(face.ask("DELETE", "/registry", "", RECORD).status, 200, "it is gone, as was asked");
}

#[test]
fn a_ttl_ends_what_is_not_repeated() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    assert_eq!(face.ask("POST", "/registry?ttl=1s", "", RECORD).status, 200);
    assert_eq!(face.get("/registry?service=foo.bar").status, 200);
    let start = Instant::now();
    while face.get("/registry?service=foo.bar").status == 200 {
        assert!(start.elapsed() < Duration::from_secs(30), "it is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    for (method, path, body, status) in [
        ("POST", "/registry", &b"{"[..], 400),
        ("POST", "/registry", br#"{"name":"a"}"#, 400),
        ("POST", "/registry?ttl=soon", RECORD, 400),
        ("DELETE", "/registry", br#"{"name":"a"}"#, 400),
        ("PUT", "/registry", RECORD, 405),
        ("PATCH", "/registry", b"", 405),
        ("POST", "/health", b"", 405),
        ("PUT", "/broker?topic=t", b"", 405),
        ("GET", "/rpc", b"", 405),
        ("GET", "/nobody/there", b"", 404),
    ] {
        let answer = face.ask(method, path, "", body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let document = face.get("/openapi.json");
    assert_eq!((document.status, document.json()["openapi"].as_str()), (200, Some("3.1.0")));
}

#[test]
fn whoever_watches_hears_of_changes() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    let mut one = Listening::start(&face, "/registry?service=foo.bar&watch");
    let mut all = Listening::start(&face, "/registry?watch=1");
    assert_eq!((one.data(), all.data()), (json!([]), json!([])));
    assert_eq!(face.ask("POST", "/registry", "", RECORD).status, 200);
    assert_eq!(one.data()[0]["nodes"][0]["port"], 9091);
    assert_eq!(all.data()[0]["name"], "foo.bar");
}

#[test]
fn whoever_watches_all_hears_of_one_that_takes_the_place_of_another() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    assert_eq!(face.ask("POST", "/registry", "", RECORD).status, 200);
    let mut all = Listening::start(&face, "/registry?watch");
    assert_eq!(all.data()[0]["nodes"][0]["port"], 9091);
    let moved = String::from_utf8_lossy(RECORD).replace("9091", "9092");
    assert_eq!(face.ask("POST", "/registry", "", moved.as_bytes()).status, 200);
    assert_eq!(all.data()[0]["nodes"][0]["port"], 9092);
}

#[test]
fn a_socket_hears_of_changes_as_clients_of_go_micro_do() {
    let place = Place::new();
    let mut face = Face::of(&place, "sidecar", &[]);
    assert_eq!(face.ask("POST", "/registry", "", RECORD).status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("ws://{}/registry", face.address);
        let (mut all, _) = connect_async(&url).await.unwrap();
        let (mut one, _) = connect_async(format!("{url}?service=foo.bar")).await.unwrap();
        let moved = String::from_utf8_lossy(RECORD).replace("9091", "9092");
        for socket in [&mut all, &mut one] {
            let service = json!({"name": "foo.bar", "version": "latest", "metadata": {}, "endpoints": [],
                "nodes": [{"id": "foo.bar-1", "address": "127.0.0.1", "port": 9091, "metadata": {}}]});
            assert_eq!(result(socket).await, json!({"Action": "create", "Service": service}));
        }
        for (method, action) in [("POST", "update"), ("DELETE", "delete")] {
            assert_eq!(face.ask(method, "/registry", "", moved.as_bytes()).status, 200);
            for socket in [&mut all, &mut one] {
                let result = result(socket).await;
                assert_eq!(result["Action"], action, "{result}");
                assert_eq!(result["Service"]["nodes"][0]["port"], 9092, "{result}");
            }
        }
        face.signal(rustix::process::Signal::TERM);
        let mut rest = all.filter_map(async |message| message.ok().filter(Message::is_close)).boxed();
        let Some(Message::Close(Some(frame))) = rest.next().await else { panic!("it is closed with a word") };
        assert_eq!(u16::from(frame.code), 1001);
    });
    assert_eq!(face.end().0, Some(0));
}

async fn result(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}
