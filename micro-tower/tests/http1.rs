//! HTTP/1: which connections are used again, and what else may happen to one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use micro_balance::{NotSent, Unsent};
use micro_tower::{Phase, transport::Connector};
use peer::{call, echo, endpoint, listen, request, serve, serve_on, text};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::yield_now,
    time::timeout,
};
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

/// More than a request may have to be sent without a task.
const LONG: &str = match str::from_utf8(&[b'x'; 100_000]) {
    Ok(long) => long,
    Err(_) => "",
};

/// A server that says what it was asked, and how many connections it has had.
async fn echoes() -> (Arc<AtomicUsize>, SocketAddr) {
    let accepted = Arc::new(AtomicUsize::new(0));
    let (listener, address) = listen().await;
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(serve_on(TokioIo::new(stream), echo));
        }
    });
    (accepted, address)
}

/// A server that says when it is asked.
async fn tells() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (asked, heard) = mpsc::unbounded_channel();
    let address = serve(move |request| {
        asked.send(()).unwrap();
        echo(request)
    });
    (address.await, heard)
}

#[tokio::test]
async fn http1_keeps_its_connections() {
    let (accepted, address) = echoes().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    for _ in 0..10 {
        let response = call(&mut connection, request("/greet?a=b", "hello")).await.unwrap();
        assert_eq!(response.headers()["x-version"], "HTTP/1.1");
        assert_eq!(response.headers()["x-uri"], "/greet?a=b");
        assert_eq!(response.headers()["x-host"], address.to_string());
        assert_eq!(text(response).await, "hello");
        // The connection learns a moment later that its response was read.
        tokio::task::yield_now().await;
    }
    assert_eq!(accepted.load(SeqCst), 1);

    let calls = (0..8).map(|_| {
        let mut connection = connection.clone();
        async move { text(call(&mut connection, request("/", "at once")).await.unwrap()).await }
    });
    assert!(join_all(calls).await.iter().all(|text| text == "at once"));
    assert_eq!(accepted.load(SeqCst), 8);
}

#[tokio::test]
async fn http1_sends_a_request_before_its_answer_is_waited_for_where_a_connection_is_idle() {
    let (address, mut heard) = tells().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let answer = connection.ready().await.unwrap().call(request("/", LONG));
    timeout(Duration::from_secs(5), heard.recv()).await.unwrap().unwrap();
    assert_eq!(text(answer.await.unwrap()).await, LONG);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_sends_the_first_request_on_the_first_connection() {
    let (accepted, address) = echoes().await;
    for at in 1..=200 {
        let mut connection = Connector::http1().connect(&endpoint(address));
        assert_eq!(text(call(&mut connection, request("/", "x")).await.unwrap()).await, "x");
        assert_eq!(accepted.load(SeqCst), at);
    }
}

#[tokio::test]
async fn http1_has_no_more_connections_than_it_may() {
    let open = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, top) = (open.clone(), most.clone());
    let address = serve(move |request| {
        let (now, top) = (now.clone(), top.clone());
        async move {
            top.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, SeqCst);
            echo(request).await
        }
    })
    .await;
    let connection = Connector::http1().http1_connections(2, 2).connect(&endpoint(address));
    connection.clone().ready_oneshot().await.unwrap();
    let calls = (0..20).map(|_| {
        let mut connection = connection.clone();
        async move { text(call(&mut connection, request("/", "x")).await.unwrap()).await }
    });
    assert!(join_all(calls).await.iter().all(|text| text == "x"));
    assert!(most.load(SeqCst) <= 2);
}

#[tokio::test]
async fn http1_replaces_a_connection_that_was_closed_while_idle() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            // One answer for each connection, though it says nothing about closing it.
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        }
    });
    let mut connection = Connector::http1().connect(&endpoint(address));
    for _ in 0..5 {
        let mut again = Request::get("/").body(Body::empty()).unwrap();
        // The peer's closing may cross the request: then it says that it may have been sent, or hands it back.
        let response = loop {
            match call(&mut connection, again).await {
                Ok(response) => break response,
                Err(error) if NotSent::is(error.as_ref()) => {
                    again = Unsent::<Request<Body>>::take(error).unwrap().0;
                }
                Err(_maybe_sent) => again = Request::get("/").body(Body::empty()).unwrap(),
            }
        };
        assert_eq!(text(response).await, "hi");
    }
}

#[tokio::test]
async fn http1_hands_a_request_back_when_the_endpoint_is_gone() {
    let (listener, address) = listen().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    connection.ready().await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    drop((stream, listener));
    let back = loop {
        match connection.call(request("/", "mine")).await {
            Ok(_) => panic!("nobody is there"),
            Err(error) if NotSent::is(error.as_ref()) => break error,
            Err(_written_before_the_reset_arrived) => {}
        }
    };
    let (request, why) = Unsent::<Request<Body>>::take(back).unwrap();
    let why = std::error::Error::source(&why).and_then(|why| why.downcast_ref::<micro_tower::Error>());
    assert_eq!(why.unwrap().phase(), Phase::Connect);
    assert_eq!(text(http::Response::new(request.into_body())).await, "mine");
    // Known to be unreachable now: the next request has to wait for a new attempt.
    assert!(connection.ready().await.is_err());
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// The next connection, and the head of the first request on it.
async fn asked(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = head(&mut stream).await;
    (stream, head)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_its_connection_with_it() {
    let (listener, address) = listen().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let mut waiting = Box::pin(connection.ready().await.unwrap().call(get("/first")));
    assert!(waiting.as_mut().now_or_never().is_none());
    let (mut first, said) = asked(&listener).await;
    assert!(said.starts_with("GET /first "), "{said}");
    drop(waiting);
    assert_eq!(first.read(&mut [0; 9]).await.unwrap_or(0), 0, "it has been closed");

    let answer = async {
        let (mut second, said) = asked(&listener).await;
        assert!(said.starts_with("GET /second "), "{said}");
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        second
    };
    let (response, _second) = tokio::join!(call(&mut connection, get("/second")), answer);
    assert_eq!(text(response.unwrap()).await, "hi");
}

#[tokio::test]
async fn a_body_may_be_read_by_another_task_whenever_it_comes() {
    let (listener, address) = listen().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let begin = async {
        let (mut stream, _) = asked(&listener).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        stream
    };
    let (response, mut stream) = tokio::join!(call(&mut connection, get("/")), begin);
    let reading = tokio::spawn(text(response.unwrap()));
    for chunk in ["3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"] {
        yield_now().await;
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    assert_eq!(reading.await.unwrap(), "onetwo");

    // The connection is back.
    let again = async {
        assert!(head(&mut stream).await.starts_with("GET /again "));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let (response, ()) = tokio::join!(call(&mut connection, get("/again")), again);
    assert_eq!(response.unwrap().status(), 204);
}

#[tokio::test]
async fn an_answer_that_is_not_wanted_takes_the_connection_with_it_unless_it_has_come() {
    let (listener, address) = listen().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let whole = async {
        let (mut stream, _) = asked(&listener).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        stream
    };
    let (response, mut stream) = tokio::join!(call(&mut connection, get("/whole")), whole);
    drop(response.unwrap());
    let half = async {
        assert!(head(&mut stream).await.starts_with("GET /half "));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh").await.unwrap();
    };
    let (response, ()) = tokio::join!(call(&mut connection, get("/half")), half);
    drop(response.unwrap());
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap_or(0), 0, "it has been closed");
}

#[tokio::test]
async fn a_request_is_sent_to_its_end_while_nobody_reads_its_answer() {
    // Each says more than fits between them, and reads nothing until it has said it.
    const MUCH: usize = 16 << 20;
    let address = serve(|request| async move {
        let (read, reading) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let _ = read.send(body.len());
        });
        let answer = futures_util::stream::once(async { Ok::<_, tower::BoxError>(vec![b'x'; MUCH].into()) });
        let answer = answer.chain(futures_util::stream::once(async move {
            Ok(reading.await.unwrap().to_string().into_bytes().into())
        }));
        let frames = answer.map(|data: Result<bytes::Bytes, _>| data.map(http_body::Frame::data));
        Response::new(Body::new(http_body_util::StreamBody::new(frames)))
    })
    .await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let (ended, end) = tokio::sync::oneshot::channel();
    let sent =
        futures_util::stream::iter((0..16).map(|_| Ok::<_, tower::BoxError>(vec![b'y'; MUCH / 16].into())));
    let sent = sent.map(|data: Result<bytes::Bytes, _>| data.map(http_body::Frame::data));
    let sent = sent.chain(futures_util::stream::once(async move {
        ended.send(()).unwrap();
        Ok(http_body::Frame::data(bytes::Bytes::from_static(b"z")))
    }));
    let body = Body::new(http_body_util::StreamBody::new(sent));
    let response = call(&mut connection, Request::post("/").body(body).unwrap()).await.unwrap();
    timeout(Duration::from_secs(20), end).await.expect("it goes on").unwrap();
    let answer = text(response).await;
    assert!(answer.ends_with(&format!("x{}", MUCH + 1)), "{} bytes", answer.len());
}

#[tokio::test]
async fn a_connection_that_its_peer_closes_is_let_go_though_nothing_is_asked() {
    let (listener, address) = listen().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let answer = async {
        let (mut stream, _) = asked(&listener).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        stream
    };
    let (response, mut stream) = tokio::join!(call(&mut connection, get("/")), answer);
    assert_eq!(text(response.unwrap()).await, "hi");
    stream.shutdown().await.unwrap();
    let closed = timeout(Duration::from_secs(20), stream.read(&mut [0; 9])).await;
    assert_eq!(closed.expect("it is noticed").unwrap(), 0);
}

#[tokio::test]
async fn a_connection_that_is_too_old_is_let_go_though_nothing_is_asked() {
    let (listener, address) = listen().await;
    let connector = Connector::http1().http1_idle_timeout(Duration::from_millis(1));
    let mut connection = connector.connect(&endpoint(address));
    connection.ready().await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let closed = timeout(Duration::from_secs(20), stream.read(&mut [0; 9])).await;
    assert_eq!(closed.expect("it is let go").unwrap(), 0);
}

#[tokio::test]
async fn one_with_a_task_that_is_too_old_is_let_go_as_well() {
    let (listener, address) = listen().await;
    let (end, mut ended) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve_on(TokioIo::new(stream), echo).await;
            end.send(()).unwrap();
        }
    });
    let connector = Connector::http1().http1_idle_timeout(Duration::from_millis(500));
    let mut connection = connector.connect(&endpoint(address));
    assert_eq!(text(call(&mut connection, request("/", LONG)).await.unwrap()).await, LONG);
    timeout(Duration::from_secs(20), ended.recv()).await.expect("it is let go").unwrap();
    drop(connection);
}

#[tokio::test]
async fn no_more_connections_are_kept_than_may_be() {
    // Where none may be, the one that it became ready by is not either.
    for (most, opened) in [(2, [4, 6]), (0, [5, 9])] {
        let (accepted, address) = echoes().await;
        let connection = Connector::http1().http1_connections(4, most).connect(&endpoint(address));
        connection.clone().ready_oneshot().await.unwrap();
        for opened in opened {
            let calls = (0..4).map(|_| connection.clone().oneshot(get("/")));
            for answer in join_all(calls).await {
                assert_eq!(text(answer.unwrap()).await, "");
            }
            assert_eq!(accepted.load(SeqCst), opened, "of {most}");
        }
    }
}

#[tokio::test]
async fn a_request_may_be_begun_by_a_thread_that_has_no_runtime() {
    let (_, address) = echoes().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    connection.ready().await.unwrap();
    let begun = std::thread::spawn(move || connection.call(request("/", LONG)));
    assert_eq!(text(begun.join().unwrap().await.unwrap()).await, LONG);
}

/// A body of so many bytes as it says, in pieces; what is broken off ends early.
fn pieces(length: u64, pieces: Vec<&'static str>, broken: bool) -> Request<Body> {
    let pieces = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    let end = broken.then(|| Err(tonic::Status::cancelled("broken off")));
    let body = StreamBody::new(stream::iter(pieces.chain(end)).then(|piece| async {
        yield_now().await;
        piece
    }));
    Request::post("/").body(Body::new(Sized { body, length })).unwrap()
}

#[pin_project::pin_project]
struct Sized<B> {
    #[pin]
    body: B,
    length: u64,
}

impl<B: http_body::Body> http_body::Body for Sized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[tokio::test]
async fn a_body_arrives_whole_whether_it_is_there_or_comes_in_pieces() {
    let (_, address) = echoes().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    for _ in 0..3 {
        for (sent, said) in [
            (request("/", ""), ""),
            (request("/", "at once"), "at once"),
            (pieces(7, vec!["one", " two"], false), "one two"),
            (pieces(0, vec![], false), ""),
            (request("/", LONG), LONG),
        ] {
            let answer = call(&mut connection, sent).await.unwrap();
            assert_eq!(answer.headers()["x-version"], "HTTP/1.1");
            assert_eq!(text(answer).await, said);
        }
    }
    let broken = call(&mut connection, pieces(7, vec!["one"], true)).await;
    assert!(broken.is_err() || broken.unwrap().into_body().collect().await.is_err());
    assert_eq!(text(call(&mut connection, request("/", "after")).await.unwrap()).await, "after");
}

#[tokio::test]
async fn a_short_body_needs_no_task_and_so_no_runtime_to_be_sent() {
    let (address, mut heard) = tells().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    connection.ready().await.unwrap();
    let begun = std::thread::spawn(move || connection.call(request("/", "x"))).join().unwrap();
    timeout(Duration::from_secs(5), heard.recv()).await.unwrap().unwrap();
    assert_eq!(text(begun.await.unwrap()).await, "x");
}

#[tokio::test]
async fn a_connection_with_a_task_is_kept_for_those_who_need_one_and_else_let_go() {
    let (accepted, address) = echoes().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let mut say = async |body: &'static str| {
        assert_eq!(text(call(&mut connection, request("/", body)).await.unwrap()).await, body);
        yield_now().await;
        accepted.load(SeqCst)
    };
    for _ in 0..3 {
        assert_eq!(say(LONG).await, 1);
    }
    assert_eq!(say("it goes by what there is").await, 1);
    assert_eq!(say("and leaves no task to the next").await, 2);
    assert_eq!(say(LONG).await, 2);
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_next() {
    const NOTHING: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    let (listener, address) = listen().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let first = connection.ready().await.unwrap().call(get("/first"));
    let (mut one, _) = asked(&listener).await;
    let both = async {
        let (mut other, _) = asked(&listener).await;
        other.write_all(NOTHING).await.unwrap();
        other
    };
    let (answer, mut other) = tokio::join!(connection.call(get("/second")), both);
    assert_eq!(answer.unwrap().status(), 204);
    one.write_all(NOTHING).await.unwrap();
    assert_eq!(first.await.unwrap().status(), 204);

    let third = connection.call(get("/third"));
    assert!(head(&mut one).await.starts_with("GET /third "));
    let fourth = connection.call(get("/fourth"));
    assert!(head(&mut other).await.starts_with("GET /fourth "));
    drop((third, fourth));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_said_to_be_that() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: x\r\n".repeat(101));
    let too_long = "the head of its answer is too long, or has more than 100 headers";
    for (said, told) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "what it said is not valid HTTP/1.1"),
        ("HTTP/1.1 abc\r\n\r\n", "what it said is not valid HTTP/1.1"),
        (long.as_str(), too_long),
        (many.as_str(), too_long),
    ] {
        let (listener, address) = listen().await;
        let mut connection = Connector::http1().connect(&endpoint(address));
        let answer = async {
            let (mut stream, _) = asked(&listener).await;
            // The rest of what is too long may not be taken.
            let _ = stream.write_all(said.as_bytes()).await;
            stream
        };
        let (response, _stream) = tokio::join!(call(&mut connection, get("/")), answer);
        let error = response.unwrap_err();
        assert_eq!(error.to_string(), format!("{address} did not answer"));
        assert_eq!(error.source().unwrap().to_string(), told);
    }
}

#[tokio::test]
async fn what_becomes_of_a_connection_after_its_request_is_up_to_who_asked() {
    let (listener, address) = listen().await;
    let mut connection = Connector::http1().connect(&endpoint(address));
    let switch = async {
        let (mut stream, _) = asked(&listener).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    let ask = Request::get("/").header("upgrade", "echo").header("connection", "upgrade");
    let (response, mut stream) =
        tokio::join!(call(&mut connection, ask.body(Body::empty()).unwrap()), switch);
    let upgraded = hyper::upgrade::on(response.unwrap()).await.unwrap();
    let mut upgraded = TokioIo::new(upgraded);
    let mut said = [0; 5];
    upgraded.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
    upgraded.write_all(b"world").await.unwrap();
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"world");
}
