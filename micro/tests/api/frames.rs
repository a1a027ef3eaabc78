//! WebSockets through the gateway frame by frame, as RFC 6455 has them: they are the service's, and the gateway touches none.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use crate::face::Face;
use crate::heavy::MIB;
use crate::program::Place;
use crate::service::Services;
use crate::websocket::parrot;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(face: &Face) -> Socket {
    connect_async(format!("ws://{}/chat/room", face.address)).await.unwrap().0
}

async fn hear(socket: &mut Socket) -> Message {
    socket.next().await.unwrap().unwrap()
}

#[test]
fn a_ping_between_the_parts_of_a_message_is_answered_by_the_service_and_the_message_stays_whole() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    let face = Face::start(&place, &[]);
    let part = |text: &'static str, code: Data, last: bool| {
        Message::Frame(Frame::message(Bytes::from_static(text.as_bytes()), OpCode::Data(code), last))
    };
    services.runtime.block_on(async {
        let mut socket = open(&face).await;
        socket.send(part("one ", Data::Text, false)).await.unwrap();
        socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        // The message is not over, so this is all that can come.
        assert_eq!(hear(&mut socket).await, Message::Pong(Bytes::from_static(b"there?")));
        socket.send(part("", Data::Continue, false)).await.unwrap();
        // Nobody asked for it: it is taken, and not answered.
        socket.send(Message::Pong(Bytes::from_static(b"alive"))).await.unwrap();
        socket.send(part("two", Data::Continue, true)).await.unwrap();
        assert_eq!(hear(&mut socket).await, Message::text("one two"));
    });
}

#[test]
fn messages_of_sixteen_mebibytes_go_both_ways_and_one_may_say_nothing_for_longer_than_a_timeout() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    let face = Face::start(&place, &["--timeout", "300ms"]);
    let before = services.runtime.block_on(async {
        let mut socket = open(&face).await;
        let before = face.memory();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for message in
            [Message::binary(vec![7; 16 << 20]), Message::binary(vec![0; 16 << 20]), Message::text("")]
        {
            socket.send(message.clone()).await.unwrap();
            assert!(hear(&mut socket).await == message, "another message");
        }
        before
    });
    let grown = face.memory().saturating_sub(before);
    assert!(grown < 16 * MIB, "the gateway keeps nothing of them: {grown} bytes");
}

/// The next that asks for a WebSocket, and not what is spoken here.
async fn accepted(listener: &tokio::net::TcpListener) -> WebSocketStream<tokio::net::TcpStream> {
    loop {
        if let Ok(socket) = accept_async(listener.accept().await.unwrap().0).await {
            return socket;
        }
    }
}

#[test]
fn whoever_closes_first_says_why_and_the_other_hears_it() {
    let place = Place::new();
    let services = Services::new(&place);
    let listener = services.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    services.announce("chat", listener.local_addr().unwrap());
    let face = Face::start(&place, &[]);
    let close = |code, reason: &'static str| Some(CloseFrame { code, reason: reason.into() });
    let (restart, gone) = (close(CloseCode::Restart, "back at ten"), close(CloseCode::from(4_242), "näher"));
    services.runtime.block_on(async {
        // The service, with a ping of its own before.
        let service = async {
            let mut socket = accepted(&listener).await;
            socket.send(Message::Ping(Bytes::from_static(b"you?"))).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"you?")));
            socket.close(restart.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(restart.clone()));
        };
        let client = async {
            let mut socket = open(&face).await;
            assert_eq!(hear(&mut socket).await, Message::Ping(Bytes::from_static(b"you?")));
            assert_eq!(hear(&mut socket).await, Message::Close(restart.clone()));
            assert!(socket.next().await.is_none(), "its answer is sent, and nothing comes after it");
        };
        tokio::join!(service, client);
        // The client, and one that says nothing of why.
        for why in [gone, None] {
            let service = async {
                let mut socket = accepted(&listener).await;
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(why.clone()));
                assert!(socket.next().await.is_none());
            };
            let client = async {
                let mut socket = open(&face).await;
                socket.close(why.clone()).await.unwrap();
                assert_eq!(hear(&mut socket).await, Message::Close(why.clone()));
            };
            tokio::join!(service, client);
        }
    });
}

/// What `stream` says until an empty line, and no byte more.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

const ASK: &str = "GET /chat/room HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn what_comes_with_a_head_is_not_lost_and_one_side_may_go_on_after_the_other_has_ended() {
    let place = Place::new();
    let services = Services::new(&place);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    services.announce("chat", listener.local_addr().unwrap());
    let face = Face::start(&place, &[]);
    for client_first in [true, false] {
        std::thread::scope(|scope| {
            let service = scope.spawn(|| {
                let mut stream = loop {
                    let (mut stream, _) = listener.accept().unwrap();
                    let head = head(&mut stream);
                    if head.starts_with("GET /chat/room ") {
                        assert!(head.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{head}");
                        break stream;
                    }
                };
                let (mut heard, mut early) = (Vec::new(), [0; 9]);
                stream.write_all(format!("{GRANT}at once ").as_bytes()).unwrap();
                stream.read_exact(&mut early).unwrap();
                if !client_first {
                    stream.shutdown(Shutdown::Write).unwrap();
                }
                stream.read_to_end(&mut heard).unwrap();
                if client_first {
                    stream.write_all(b"and the rest").unwrap();
                }
                [&early[..], &heard].concat()
            });
            let mut stream = face.connect();
            stream.write_all(format!("{ASK}too early").as_bytes()).unwrap();
            let answer = head(&mut stream);
            assert!(
                answer.starts_with("HTTP/1.1 101 ") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                "{answer}"
            );
            let mut heard = Vec::new();
            if !client_first {
                stream.read_to_end(&mut heard).unwrap();
            }
            stream.write_all(b" and more").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            if client_first {
                stream.read_to_end(&mut heard).unwrap();
            }
            let expected = if client_first { "at once and the rest" } else { "at once " };
            assert_eq!(String::from_utf8(heard).unwrap(), expected);
            assert_eq!(service.join().unwrap(), b"too early and more");
        });
    }
}
