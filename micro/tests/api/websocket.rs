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

#[test]
fn a_page_of_another_host_opens_none() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    let face = Face::start(&place, &["--cors", "https://friend.example"]);
    let own = format!("http://{}", face.address);
    for (origin, may) in [
        (own.as_str(), true),
        ("https://friend.example", true),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let mut request = format!("ws://{}/chat/room", face.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let result = services.runtime.block_on(connect_async(request));
        match result {
            Ok(_) => assert!(may, "{origin}"),
            Err(Error::Http(response)) => {
                assert_eq!((may, response.status().as_u16()), (false, 403), "{origin}");
            }
            Err(error) => panic!("{origin}: {error}"),
        }
    }
}
