//! HTTP/1: what a peer may answer, byte for byte, and what becomes of its connection.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::time::Duration;

use http::{Method, Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use micro_tower::transport::{self, Connection, Connector};
use peer::{call, endpoint, listen, request, text};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::timeout,
};
use tonic::body::Body;
use tower::BoxError;

/// A peer that says what the test has it say, and the connection to it.
struct Scripted {
    listener: TcpListener,
    connection: Connection,
}

impl Scripted {
    async fn new() -> Self {
        let (listener, address) = listen().await;
        Self { connection: Connector::http1().connect(&endpoint(address)), listener }
    }

    /// The answer to `request` where the peer says `said` on a new connection, in pieces that are so long.
    async fn answer(
        &mut self,
        request: Request<Body>,
        said: &str,
        piece: usize,
    ) -> (Result<Response<transport::Body>, BoxError>, TcpStream) {
        tokio::join!(call(&mut self.connection, request), say(&self.listener, said, piece))
    }

    /// Whether the next request goes over `stream`, and not over a new connection.
    async fn keeps(&mut self, mut stream: TcpStream) -> bool {
        let peer = async {
            let head = heard(&mut stream).await;
            if !head.is_empty() {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                return true;
            }
            let (mut other, _) = self.listener.accept().await.unwrap();
            heard(&mut other).await;
            other.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            false
        };
        let (answer, keeps) = tokio::join!(call(&mut self.connection, get("/again")), peer);
        assert_eq!(answer.unwrap().status(), 204);
        keeps
    }
}

/// Answers the request of the next connection with `said`, in pieces that are so long.
async fn say(listener: &TcpListener, said: &str, piece: usize) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    heard(&mut stream).await;
    for piece in said.as_bytes().chunks(piece) {
        stream.write_all(piece).await.unwrap();
        yield_now().await;
    }
    stream
}

/// The head of a request; nothing where there is none.
async fn heard(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(Duration::from_secs(20), stream.read_u8()).await.unwrap() {
            Ok(byte) => head.push(byte),
            Err(_closed) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn an_answer_is_the_same_in_whatever_pieces_it_comes() {
    let exact = "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 5\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n";
    let early = format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{exact}");
    for said in [exact, chunked, &early] {
        for piece in [1, 2, 7, 64, said.len()] {
            let mut scripted = Scripted::new().await;
            let (answer, stream) = scripted.answer(get("/"), said, piece).await;
            let answer = answer.unwrap();
            assert_eq!(answer.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(text(answer).await, "hello");
            assert!(scripted.keeps(stream).await, "{said} by {piece}");
        }
    }
}

#[tokio::test]
async fn trailers_come_after_the_body() {
    let said = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
    for piece in [1, said.len()] {
        let mut scripted = Scripted::new().await;
        let (answer, stream) = scripted.answer(get("/"), said, piece).await;
        let body = answer.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        assert_eq!(body.to_bytes(), "hi");
        assert!(scripted.keeps(stream).await);
    }
}

#[tokio::test]
async fn what_becomes_of_a_connection_is_up_to_both_ends() {
    for (said, keeps) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi", false),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\nconnection: keep-alive\r\n\r\nhi",
            false,
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: Keep-Alive\r\n\r\nhi", true),
        // More than it said: whose answer is that?
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi there", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            false,
        ),
        // Two readers might understand it differently.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            false,
        ),
    ] {
        let mut scripted = Scripted::new().await;
        let (answer, stream) = scripted.answer(get("/"), said, said.len()).await;
        assert_eq!(text(answer.unwrap()).await, "hi");
        assert_eq!(scripted.keeps(stream).await, keeps, "{said}");
    }
    let mut scripted = Scripted::new().await;
    let last = Request::get("/").header("connection", "close").body(Body::empty()).unwrap();
    let (answer, stream) = scripted.answer(last, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 99).await;
    assert_eq!(text(answer.unwrap()).await, "hi");
    assert!(!scripted.keeps(stream).await, "the request asked for it to be closed");
}

#[tokio::test]
async fn an_answer_may_have_no_body_whatever_it_says_of_one() {
    for (method, status) in [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")] {
        let mut scripted = Scripted::new().await;
        let asked = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri("/");
        let said = format!("HTTP/1.1 {status}\r\ncontent-length: 9\r\n\r\n");
        let (answer, stream) = scripted.answer(asked.body(Body::empty()).unwrap(), &said, said.len()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.headers()["content-length"], "9");
        assert_eq!(text(answer).await, "");
        assert!(scripted.keeps(stream).await, "{method} {status}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_its_connection() {
    let mut scripted = Scripted::new().await;
    let (answer, stream) = scripted.answer(get("/"), "HTTP/1.1 200 Fine\r\n\r\nhello", 99).await;
    drop(stream);
    let answer = answer.unwrap();
    let reason = answer.extensions().get::<hyper::ext::ReasonPhrase>().unwrap();
    assert_eq!((reason.as_bytes(), answer.version()), (&b"Fine"[..], Version::HTTP_11));
    assert_eq!(text(answer).await, "hello");
}

#[tokio::test]
async fn it_is_known_how_long_a_body_is_where_that_was_said() {
    for (said, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", Some(0)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", Some(2)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", Some(9)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", None),
        ("HTTP/1.1 200 OK\r\n\r\nhi", None),
    ] {
        let (answer, _stream) = Scripted::new().await.answer(get("/"), said, 999).await;
        let body = answer.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), length, "{said}");
        assert_eq!(body.is_end_stream(), length == Some(0), "{said}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    for said in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    ] {
        let mut scripted = Scripted::new().await;
        let (answer, stream) = scripted.answer(get("/"), said, said.len()).await;
        drop(stream);
        let error = answer.unwrap().into_body().collect().await.unwrap_err();
        assert!(error.to_string().contains("broke off its answer"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_before_its_answer_may_have_done_what_was_asked() {
    for said in ["", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let Scripted { listener, mut connection } = Scripted::new().await;
        let peer = async { drop(say(&listener, said, 99).await) };
        let (answer, ()) = tokio::join!(call(&mut connection, get("/")), peer);
        let error = answer.unwrap_err();
        assert!(!micro_balance::NotSent::is(error.as_ref()));
        assert!(error.to_string().ends_with(" did not answer: has it stopped or been restarted?"), "{error}");
        assert_eq!(error.source().unwrap().to_string(), "connection closed before its answer came");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_none() {
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40);
    for said in ["HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\r\n", hints.as_str()] {
        let mut scripted = Scripted::new().await;
        let (answer, stream) = scripted.answer(get("/"), said, said.len()).await;
        let error = answer.unwrap_err();
        assert!(error.to_string().ends_with(" did not answer"), "{error}");
        assert!(!scripted.keeps(stream).await);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_leaves_its_connection_where_all_of_it_has_come() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (rest, keeps) in [("2\r\nhi\r\n0\r\n\r\n", true), ("2\r\nhi\r\n", false), ("x\r\n", false)] {
        let mut scripted = Scripted::new().await;
        let (answer, stream) = scripted.answer(get("/"), &format!("{chunked}{rest}"), 999).await;
        drop(answer.unwrap());
        assert_eq!(scripted.keeps(stream).await, keeps, "{rest}");
    }
}

#[tokio::test]
async fn requests_with_and_without_a_body_share_connections() {
    let mut scripted = Scripted::new().await;
    let (answer, mut stream) =
        scripted.answer(get("/"), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 99).await;
    assert_eq!(text(answer.unwrap()).await, "hi");
    for (asked, first) in [(request("/", "x"), "POST /"), (get("/"), "GET /"), (request("/", "y"), "POST /")]
    {
        let peer = async {
            assert!(heard(&mut stream).await.starts_with(first));
            if first == "POST /" {
                stream.read_u8().await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        };
        let (answer, ()) = tokio::join!(call(&mut scripted.connection, asked), peer);
        assert_eq!(text(answer.unwrap()).await, "hi");
        // A connection with a task learns a moment later that its response was read.
        yield_now().await;
    }
}

#[tokio::test]
async fn a_head_longer_than_most_arrives_whole() {
    let mut scripted = Scripted::new().await;
    let long = "x".repeat(100_000);
    let asked = Request::get("/").header("x-long", &long).body(Body::empty()).unwrap();
    let peer = async {
        let (mut stream, _) = scripted.listener.accept().await.unwrap();
        let head = heard(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        head
    };
    let (answer, head) = tokio::join!(call(&mut scripted.connection, asked), peer);
    assert_eq!(answer.unwrap().status(), 204);
    assert!(head.contains(&long));
}

#[tokio::test]
async fn a_long_body_arrives_as_it_was_sent() {
    let body: String = (0..1_000_000).map(|line| format!("{line:07}\n")).collect();
    let exact = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let chunks = body
        .as_bytes()
        .chunks(70_001)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    let chunked = chunks.collect::<String>();
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunked}0\r\n\r\n");
    for said in [exact, chunked] {
        let Scripted { listener, mut connection } = Scripted::new().await;
        let read = async { text(call(&mut connection, get("/")).await.unwrap()).await };
        let (read, _stream) = tokio::join!(read, say(&listener, &said, said.len()));
        assert!(read == body);
    }
}

/// What an answer consists of, in an order that may make no sense.
const PIECES: [&str; 22] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.0 200 OK\r\n",
    "content-length: 2\r\n",
    "content-length: 7\r\n",
    "content-length: 2, 2\r\n",
    "Content-Length: 0\r\n",
    "content-length: -1\r\n",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "transfer-encoding: gzip\r\n",
    "connection: close\r\n",
    "x: y\r\n",
    " z\r\n",
    "\r\n",
    "hi",
    "2\r\nhi\r\n",
    "2 ;a=b\r\nhi\r\n",
    "0\r\n\r\n",
    "0\r\nt: u\r\n\r\n",
    "\n",
];

/// A head that makes sense, and what may follow it.
fn answers() -> impl Strategy<Value = String> {
    let pieces = |most| prop::collection::vec(prop::sample::select(&PIECES[..]), 0..most);
    let headers = prop::collection::vec(prop::sample::select(&PIECES[4..14]), 0..4);
    let sensible = (headers, pieces(5))
        .prop_map(|(headers, rest)| format!("{}{}\r\n{}", PIECES[0], headers.concat(), rest.concat()));
    prop_oneof![3 => sensible, 1 => pieces(8).prop_map(|pieces| pieces.concat())]
}

/// What is read where a peer answers `request` with `said` and closes the connection: nothing where that is no answer.
async fn read(request: Request<Body>, said: &str) -> Option<String> {
    let Scripted { listener, mut connection } = Scripted::new().await;
    let peer = async {
        let mut stream = say(&listener, said, 999).await;
        stream.shutdown().await.unwrap();
        stream
    };
    let answer = async {
        let answer = call(&mut connection, request).await.ok()?;
        let (mut head, body) = answer.into_parts();
        if head.headers.contains_key("transfer-encoding") {
            // Only one of the two takes it away.
            head.headers.remove("content-length");
        }
        let body = body.collect().await.ok()?;
        let trailers = body.trailers().cloned();
        Some(format!("{head:?} {trailers:?} {:?}", body.to_bytes()))
    };
    tokio::join!(answer, peer).0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whoever_reads_an_answer_reads_the_same(said in answers()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bare = Request::post("/").body(Body::empty()).unwrap();
        let (bare, tasked) = runtime.block_on(async { tokio::join!(read(bare, &said), read(request("/", "x"), &said)) });
        prop_assert_eq!(bare, tasked, "{:?}", said);
    }
}
