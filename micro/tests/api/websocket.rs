//! WebSockets through the gateway.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, connect_async};

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;

/// A service that says every message back.
pub(crate) fn parrot(services: &Services, name: &str) {
    let listener = services.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    services.announce(name, listener.local_addr().unwrap());
    services.runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(socket) = accept_async(stream).await else { return };
                let (mut sink, mut messages) = socket.split();
                while let Some(Ok(message)) = messages.next().await {
                    if message.is_text() || message.is_binary() {
                        sink.send(message).await.unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn messages_go_both_ways_and_the_end_is_heard() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    let face = Face::start(&place, &[]);
    services.runtime.block_on(async {
        let (mut socket, _) = connect_async(format!("ws://{}/chat/room", face.address)).await.unwrap();
        for text in ["one", "two"] {
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
        }
        let metrics = face.get("/metrics").text();
        let open = "micro_gateway_streams_active{service=\"chat\"} 1";
        assert!(metrics.lines().any(|line| line == open), "{metrics}");
        let large = Message::binary(vec![7; 1_000_000]);
        socket.send(large.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), large);
        socket.close(None).await.unwrap();
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    });
}

#[test]
fn one_that_is_open_outlives_the_word_to_stop_until_it_is_closed() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    let mut face = Face::start(&place, &[]);
    services.runtime.block_on(async {
        let (mut socket, _) = connect_async(format!("ws://{}/chat/room", face.address)).await.unwrap();
        face.signal(Signal::TERM);
        while TcpStream::connect(face.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        socket.send(Message::text("still")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("still"));
        socket.close(None).await.unwrap();
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    });
    assert_eq!(face.end().0, Some(0));
}

/// What became of opening a WebSocket at `face` for the page `origin`.
fn open(services: &Services, face: &Face, origin: &str) -> u16 {
    let mut request = format!("ws://{}/chat/room", face.address).into_client_request().unwrap();
    request.headers_mut().insert("origin", origin.parse().unwrap());
    match services.runtime.block_on(connect_async(request)) {
        Ok((_, response)) => response.status().as_u16(),
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{origin}: {error}"),
    }
}

#[test]
fn a_page_opens_one_at_its_own_host_or_where_it_is_named() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    for kind in ["api", "sidecar"] {
        let closed = Face::of(&place, kind, &[]);
        let friendly = Face::of(&place, kind, &["--cors", "https://friend.example"]);
        for face in [&closed, &friendly] {
            let (host, port) = (face.address.to_string(), face.address.port());
            for (origin, may) in [
                (format!("http://{host}"), true),
                (format!("https://{host}"), true),
                ("null".to_owned(), false),
                (String::new(), false),
                ("http://127.0.0.1".to_owned(), false),
                (format!("http://127.0.0.1:{}", port ^ 1), false),
                (format!("http://localhost:{port}"), false),
                (format!("http://127.1:{port}"), false),
                (format!("http://[::1]:{port}"), false),
                (format!("http://{host}.evil.example"), false),
                (format!("http://evil.{host}"), false),
                (format!("http://{host}@evil.example"), false),
                (format!("http://evil@{host}"), false),
                (format!("http://{host}."), false),
                (format!("http://{host}/"), false),
                (format!("http://{host}, http://evil.example"), false),
                (format!("ftp://{host}"), false),
                ("http://friend.example".to_owned(), false),
                ("https://friend.example:8443".to_owned(), false),
                ("https://sub.friend.example".to_owned(), false),
                ("https://friend.example.evil.example".to_owned(), false),
                ("https://friend.example.".to_owned(), false),
                ("https://evil@friend.example".to_owned(), false),
                ("https://friend.example".to_owned(), std::ptr::eq(face, &friendly)),
            ] {
                let expected = if may { 101 } else { 403 };
                assert_eq!(open(&services, face, &origin), expected, "{kind}: {origin:?}");
            }
        }
    }
}

#[test]
fn a_page_that_came_without_tls_opens_none_over_it() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    // Somebody in front says over what a page's request came.
    let face = Face::start(&place, &["--trust-forwarded"]);
    let open = |origin: &str, proto: &str| {
        let mut request = format!("ws://{}/chat/room", face.address).into_client_request().unwrap();
        request.headers_mut().insert("host", "shop.example".parse().unwrap());
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request.headers_mut().insert("x-forwarded-proto", proto.parse().unwrap());
        services.runtime.block_on(connect_async(request)).is_ok()
    };
    assert!(open("https://shop.example", "https") && open("http://shop.example", "http"));
    assert!(!open("http://shop.example", "https"), "anybody between may have written that page");
}
