//! One endpoint over HTTP/2: connecting, sending, and every way it can go away.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::join_all};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use micro_balance::{BrokenBody, NotSent, Unsent, cause};
use micro_tower::{
    Error, Phase, Sent,
    transport::{Connection, Connector},
};
use peer::{
    call, echo, endpoint,
    h2::{ByHand, answer},
    listen, nobody, request, serve, text,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use tonic::{Status, body::Body};
use tower::{BoxError, Service as _, ServiceExt as _};

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let address = serve(echo).await;
    let mut connection = Connector::new().connect(&endpoint(address));
    let response = call(&mut connection, request("/greet?who=you", "hello")).await.unwrap();
    assert_eq!(response.headers()["x-version"], "HTTP/2.0");
    assert_eq!(response.headers()["x-uri"], format!("http://{address}/greet?who=you"));
    assert_eq!(text(response).await, "hello");

    let mut empty = request("/", "");
    empty.headers_mut().insert("connection", "x-mine".parse().unwrap());
    empty.headers_mut().insert("x-mine", "1".parse().unwrap());
    empty.headers_mut().insert("host", "greeter".parse().unwrap());
    let response = call(&mut connection, empty).await.unwrap();
    assert_eq!(response.headers()["x-uri"], "http://greeter/");
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_callers_fault() {
    let address = serve(|_| std::future::pending()).await;
    let mut connection = Connector::new().connect(&endpoint(address));
    let (sender, frames) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(frames));
    let asked = call(&mut connection, Request::post("/").body(Body::new(body)).unwrap());
    let breaks = async {
        sender.send(Ok(Frame::data(Bytes::from_static(b"hel")))).await.unwrap();
        sender.send(Err("the caller hung up".into())).await.unwrap();
    };
    let error = tokio::join!(asked, breaks).0.unwrap_err();
    assert!(cause::<BrokenBody>(error.as_ref()).is_some(), "{error:?}");
}

#[tokio::test]
async fn a_refused_connection_is_an_error_of_that_attempt() {
    let address = nobody().await;
    let mut connection = Connector::new().connect(&endpoint(address));
    for _ in 0..2 {
        let error = connection.ready().await.err().unwrap();
        assert!(NotSent::is(error.as_ref()));
        let error = error.downcast::<Error>().unwrap();
        assert_eq!((error.phase(), error.sent()), (Phase::Connect, Sent::NotSent));
        assert!(error.to_string().starts_with(&format!("{address} could not be connected to after ")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_says_nothing_is_not_connected_to() {
    let (listener, address) = listen().await;
    let mut connection = Connector::new().connect(&endpoint(address));
    let error = connection.ready().await.err().unwrap();
    let cause = std::error::Error::source(error.source().unwrap()).unwrap().to_string();
    assert!(cause.starts_with("this endpoint took the connection and said nothing"), "{cause}");
    drop(listener);
}

#[tokio::test]
async fn a_peer_that_allows_no_streams_is_not_connected_to() {
    let server = ByHand::new(0).await;
    let connector = Connector::new().connect_timeout(Duration::from_millis(300));
    let mut connection: Connection = connector.connect(&endpoint(server.address));
    tokio::spawn(server.each(|mut connection| async move { while connection.accept().await.is_some() {} }));
    let error = connection.ready().await.err().unwrap();
    let cause = std::error::Error::source(error.source().unwrap()).unwrap().to_string();
    assert!(NotSent::is(error.as_ref()) && cause.contains("it allows no streams"), "{cause}");
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_not_connected_to() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example.com ESMTP ready\r\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    let mut connection = Connector::new().connect(&endpoint(address));
    let error = connection.ready().await.err().unwrap();
    assert!(NotSent::is(error.as_ref()));
    let said = Status::from(*error.downcast::<Error>().unwrap());
    let cause = ": the request was not sent: this endpoint does not speak HTTP/2 (it answered with \
                 \"220 mail.example.com ESMTP ready\")";
    assert!(said.message().ends_with(cause) && !said.message().contains("is it running"), "{said:?}");
}

#[tokio::test]
async fn clones_wait_for_one_attempt_and_each_is_told() {
    let server = ByHand::new(100).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let connection = Connector::new().connect(&endpoint(server.address));
    let count = accepted.clone();
    tokio::spawn(server.each(move |mut h2| {
        count.fetch_add(1, SeqCst);
        async move { while h2.accept().await.is_some() {} }
    }));
    let all = (0..20).map(|_| connection.clone().ready_oneshot());
    assert!(join_all(all).await.into_iter().all(|ready| ready.is_ok()));
    assert_eq!(accepted.load(SeqCst), 1);

    let refused = Connector::new().connect(&endpoint(nobody().await));
    let all = (0..20).map(|_| refused.clone().ready_oneshot());
    assert!(join_all(all).await.into_iter().all(|ready| ready.is_err()));
}

#[tokio::test]
async fn without_a_connection_the_request_is_handed_back() {
    let mut connection = Connector::new().connect(&endpoint(nobody().await));
    let error = connection.call(request("/", "mine")).await.unwrap_err();
    assert!(NotSent::is(error.as_ref()));
    let (request, _) = Unsent::<Request<Body>>::take(error).unwrap();
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "mine");
}

#[tokio::test]
async fn after_a_goaway_the_open_stream_finishes_and_the_next_request_goes_elsewhere() {
    let server = ByHand::new(100).await;
    let mut connection = Connector::new().connect(&endpoint(server.address));
    let (go_away, told) = oneshot::channel::<()>();
    let (finish, may_finish) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut first = server.accept().await;
        let mut open = first.accept().await.unwrap().unwrap();
        let first = tokio::spawn(async move {
            let mut body = open.1.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"one "), false).unwrap();
            let (mut told, mut may_finish) = (told, may_finish);
            let (mut closing, mut finished) = (false, false);
            loop {
                tokio::select! {
                    _ = &mut told, if !closing => {
                        closing = true;
                        first.graceful_shutdown();
                    }
                    _ = &mut may_finish, if !finished => {
                        finished = true;
                        body.send_data(Bytes::from_static(b"two"), true).unwrap();
                    }
                    next = first.accept() => match next {
                        Some(stream) => answer(&mut stream.unwrap()),
                        None => return,
                    }
                }
            }
        });
        let mut second = server.accept().await;
        while let Some(stream) = second.accept().await {
            answer(&mut stream.unwrap());
        }
        first.await.unwrap();
    });
    let open = call(&mut connection, request("/open", "")).await.unwrap();
    go_away.send(()).unwrap();
    // However the two race, each of these is answered: on a second connection once the first is closing.
    for _ in 0..10 {
        let mut again = request("/", "x");
        let response = loop {
            match call(&mut connection, again).await {
                Ok(response) => break response,
                Err(error) => again = Unsent::<Request<Body>>::take(error).unwrap().0,
            }
        };
        assert_eq!(text(response).await, "answer");
        tokio::task::yield_now().await;
    }
    finish.send(()).unwrap();
    assert_eq!(text(open).await, "one two");
}

#[tokio::test]
async fn a_stream_the_peer_refuses_was_not_sent() {
    let server = ByHand::new(100).await;
    let mut connection = Connector::new().connect(&endpoint(server.address));
    tokio::spawn(server.each(|mut h2| async move {
        while let Some(stream) = h2.accept().await {
            stream.unwrap().1.send_reset(h2::Reason::REFUSED_STREAM);
        }
    }));
    let error = call(&mut connection, request("/", "x")).await.unwrap_err();
    assert!(NotSent::find(error.as_ref()).unwrap().is_refused());
}

#[tokio::test]
async fn a_connection_cut_while_waiting_may_have_been_sent_and_is_replaced() {
    let server = ByHand::new(100).await;
    let mut connection = Connector::new().connect(&endpoint(server.address));
    tokio::spawn(async move {
        let mut first = server.accept().await;
        let stream = first.accept().await.unwrap().unwrap();
        drop(first);
        drop(stream);
        let mut second = server.accept().await;
        while let Some(stream) = second.accept().await {
            answer(&mut stream.unwrap());
        }
    });
    let error = call(&mut connection, request("/", "x")).await.unwrap_err();
    let error = error.downcast::<Error>().unwrap();
    assert_eq!((error.phase(), error.sent()), (Phase::Wait, Sent::MaybeSent));
    // The connection is known to be gone as soon as the request on it is.
    let response = call(&mut connection, request("/", "x")).await;
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            let again = Unsent::<Request<Body>>::take(error).unwrap().0;
            call(&mut connection, again).await.unwrap()
        }
    };
    assert_eq!(text(response).await, "answer");
}

#[tokio::test]
async fn when_the_streams_of_one_connection_are_in_use_there_is_another_up_to_the_limit() {
    let server = ByHand::new(10).await;
    let (open, most, accepted) = (Arc::default(), Arc::default(), Arc::default());
    let gate = Arc::new(Semaphore::new(0));
    let connection = Connector::new().max_connections(3).connect(&endpoint(server.address));
    {
        let (open, most, accepted): (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>) =
            (Arc::clone(&open), Arc::clone(&most), Arc::clone(&accepted));
        let gate = gate.clone();
        tokio::spawn(server.each(move |mut h2| {
            accepted.fetch_add(1, SeqCst);
            let (open, most, gate) = (open.clone(), most.clone(), gate.clone());
            async move {
                while let Some(stream) = h2.accept().await {
                    let mut stream = stream.unwrap();
                    most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                    let (open, gate) = (open.clone(), gate.clone());
                    tokio::spawn(async move {
                        gate.acquire().await.unwrap().forget();
                        open.fetch_sub(1, SeqCst);
                        answer(&mut stream);
                    });
                }
            }
        }));
    }
    connection.clone().ready_oneshot().await.unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let mut connection = connection.clone();
            tokio::spawn(async move { text(call(&mut connection, request("/", "x")).await.unwrap()).await })
        })
        .collect();
    // All thirty places are taken, whatever else happens meanwhile; then everyone is served.
    while open.load(SeqCst) < 30 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(50);
    for call in calls {
        assert_eq!(call.await.unwrap(), "answer");
    }
    assert_eq!((accepted.load(SeqCst), most.load(SeqCst)), (3, 30));
}

#[tokio::test]
async fn a_response_counts_as_in_flight_to_the_end_of_its_body() {
    let server = ByHand::new(1).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let connection = Connector::new().connect(&endpoint(server.address));
    let count = accepted.clone();
    tokio::spawn(server.each(move |mut h2| {
        count.fetch_add(1, SeqCst);
        async move {
            while let Some(stream) = h2.accept().await {
                answer(&mut stream.unwrap());
            }
        }
    }));
    let mut one = connection.clone();
    for _ in 0..5 {
        let response = call(&mut one, request("/", "x")).await.unwrap();
        assert_eq!(text(response).await, "answer");
    }
    assert_eq!(accepted.load(SeqCst), 1);
    let unread = call(&mut one, request("/", "x")).await.unwrap();
    let other = call(&mut one, request("/", "x")).await.unwrap();
    assert_eq!(accepted.load(SeqCst), 2);
    drop((unread, other));
}

#[tokio::test]
async fn a_place_is_free_again_however_its_request_ends() {
    // One stream at a time: a place that was not given back would need a second connection.
    let server = ByHand::new(1).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let mut connection = Connector::new().connect(&endpoint(server.address));
    let count = accepted.clone();
    tokio::spawn(server.each(move |mut h2| {
        count.fetch_add(1, SeqCst);
        async move {
            while let Some(Ok(mut stream)) = h2.accept().await {
                match stream.0.uri().path() {
                    "/reset" => stream.1.send_reset(h2::Reason::INTERNAL_ERROR),
                    "/head" => drop(stream.1.send_response(Response::new(()), false)),
                    "/never" => std::mem::forget(stream),
                    _ => answer(&mut stream),
                }
            }
        }
    }));
    for path in ["/", "/reset", "/never", "/body", "/head", "/", "/failing", "/upload", "/"] {
        connection.ready().await.unwrap();
        match path {
            "/reset" => drop(connection.call(request(path, "x")).await.unwrap_err()),
            // Never polled, and polled once.
            "/never" => {
                drop(connection.call(request(path, "x")));
                assert!(connection.call(request(path, "x")).now_or_never().is_none());
            }
            "/body" => drop(connection.call(request(path, "x")).await.unwrap()),
            "/head" => {
                let body = connection.call(request(path, "x")).await.unwrap().into_body();
                assert!(body.collect().await.is_err());
            }
            "/failing" => {
                let frames = futures_util::stream::iter([Err::<Frame<Bytes>, _>(BoxError::from("broken"))]);
                let body = Body::new(StreamBody::new(frames));
                assert!(connection.call(Request::post("/").body(body).unwrap()).await.is_err());
            }
            "/upload" => {
                let (sender, body) = channel_body();
                drop(connection.call(Request::post("/never").body(body).unwrap()));
                sender.closed().await;
            }
            _ => assert_eq!(text(connection.call(request(path, "x")).await.unwrap()).await, "answer"),
        }
    }
    assert_eq!(accepted.load(SeqCst), 1);
}

/// A body fed by the test.
fn channel_body() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (Ok::<_, BoxError>(frame), receiver))
    });
    (sender, Body::new(StreamBody::new(frames.boxed())))
}

#[tokio::test]
async fn both_sides_can_stream_at_the_same_time() {
    let address = serve(echo).await;
    let mut connection = Connector::new().connect(&endpoint(address));
    let (sender, body) = channel_body();
    let response = call(&mut connection, Request::post("/").body(body).unwrap()).await.unwrap();
    let mut received = response.into_body();
    for part in ["a", "b", "c"] {
        sender.send(Frame::data(part.into())).await.unwrap();
        assert_eq!(received.frame().await.unwrap().unwrap().into_data().unwrap(), part);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    sender.send(Frame::trailers(trailers.clone())).await.unwrap();
    drop(sender);
    assert_eq!(received.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
    assert!(received.frame().await.is_none());
}

#[tokio::test]
async fn a_body_of_many_megabytes_arrives_whole() {
    let address = serve(echo).await;
    let mut connection = Connector::new().connect(&endpoint(address));
    let (sender, body) = channel_body();
    let sending = tokio::spawn(async move {
        for number in 0..64_u8 {
            sender.send(Frame::data(vec![number; 256 << 10].into())).await.unwrap();
        }
    });
    let response = call(&mut connection, Request::post("/").body(body).unwrap()).await.unwrap();
    let received = response.into_body().collect().await.unwrap().to_bytes();
    sending.await.unwrap();
    assert_eq!(received.len(), 16 << 20);
    assert!(received.chunks(256 << 10).enumerate().all(|(n, chunk)| chunk.iter().all(|b| *b == n as u8)));
}

#[tokio::test]
async fn dropping_a_call_resets_its_stream_and_its_body() {
    let server = ByHand::new(100).await;
    let mut connection = Connector::new().connect(&endpoint(server.address));
    let (resets, mut seen) = mpsc::unbounded_channel();
    tokio::spawn(server.each(move |mut h2| {
        let resets = resets.clone();
        async move {
            while let Some(stream) = h2.accept().await {
                let (_request, mut response) = stream.unwrap();
                let resets = resets.clone();
                tokio::spawn(async move {
                    let reason = std::future::poll_fn(|cx| response.poll_reset(cx)).await.unwrap();
                    resets.send(reason).unwrap();
                });
            }
        }
    }));
    // Without an answer yet, with nothing left to send.
    connection.ready().await.unwrap();
    let waiting = connection.call(request("/", "x"));
    assert!(timeout(Duration::from_millis(20), waiting).await.is_err());
    assert_eq!(seen.recv().await, Some(h2::Reason::CANCEL));
    // In the middle of the request's body.
    let (sender, body) = channel_body();
    let sending = connection.call(Request::post("/").body(body).unwrap());
    sender.send(Frame::data("a".into())).await.unwrap();
    drop(sending);
    assert_eq!(seen.recv().await, Some(h2::Reason::CANCEL));
    sender.closed().await;
    // A body that fails is a reset too.
    let frames =
        futures_util::stream::iter([Ok(Frame::data(Bytes::from("a"))), Err(BoxError::from("broken"))]);
    let failing = Request::post("/").body(Body::new(StreamBody::new(frames))).unwrap();
    assert!(connection.call(failing).await.is_err());
    assert_eq!(seen.recv().await, Some(h2::Reason::CANCEL));
}

/// A call to a peer that answers the head and nothing more; it reads until it is told to stop.
async fn quiet_call(connector: Connector) -> (micro_tower::transport::Body, oneshot::Sender<()>, Connection) {
    let server = ByHand::new(100).await;
    let mut connection = connector.connect(&endpoint(server.address));
    let (silence, silent) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut h2 = server.accept().await;
        let mut stream = h2.accept().await.unwrap().unwrap();
        let _body = stream.1.send_response(Response::new(()), false).unwrap();
        tokio::select! { _ = h2.accept() => {}, _ = silent => {} }
        std::future::pending::<()>().await;
    });
    (call(&mut connection, request("/", "x")).await.unwrap().into_body(), silence, connection)
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let connector = Connector::new()
        .ping_interval(Some(Duration::from_millis(10)))
        .ping_timeout(Duration::from_millis(50));
    let (mut body, silence, mut connection) = quiet_call(connector).await;
    silence.send(()).unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the peer did not answer a keepalive PING");
    // No one answers there: the next request would have to connect first.
    assert!(connection.ready().now_or_never().is_none());
}

#[tokio::test]
async fn a_peer_that_has_nothing_to_say_is_kept() {
    let connector =
        Connector::new().ping_interval(Some(Duration::from_millis(5))).ping_timeout(Duration::from_secs(60));
    let (mut body, _silence, mut connection) = quiet_call(connector).await;
    assert!(timeout(Duration::from_millis(100), body.frame()).await.is_err());
    assert!(connection.ready().now_or_never().is_some());
}

#[tokio::test]
async fn a_peer_that_says_nothing_to_a_call_that_is_given_up_is_connected_to_anew() {
    let server = ByHand::new(100).await;
    let connector = Connector::new().connect_timeout(Duration::from_millis(500));
    let mut connection = connector.connect(&endpoint(server.address));
    tokio::spawn(async move {
        let mut silent = server.accept().await;
        let _stream = silent.accept().await;
        // From here on nobody reads the first connection, or writes to it. It stays open.
        server
            .each(|mut h2| async move {
                while let Some(stream) = h2.accept().await {
                    answer(&mut stream.unwrap());
                }
            })
            .await;
    });
    let answered = async {
        // Regular PINGs would ask in 20 s, and only if a call were under way just then.
        while timeout(Duration::from_millis(100), call(&mut connection, request("/", "x"))).await.is_err() {}
    };
    timeout(Duration::from_secs(15), answered).await.expect("the silent connection is given up");
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connection_after_the_last_response() {
    let server = ByHand::new(100).await;
    let mut connection = Connector::new().connect(&endpoint(server.address));
    let (closed, is_closed) = oneshot::channel();
    let (finish, may_finish) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut h2 = server.accept().await;
        let mut stream = h2.accept().await.unwrap().unwrap();
        let mut body = stream.1.send_response(Response::new(()), false).unwrap();
        tokio::spawn(async move {
            may_finish.await.unwrap();
            body.send_data(Bytes::from_static(b"late"), true).unwrap();
        });
        assert!(h2.accept().await.is_none());
        closed.send(()).unwrap();
    });
    let response = call(&mut connection, request("/", "x")).await.unwrap();
    drop(connection);
    finish.send(()).unwrap();
    assert_eq!(text(response).await, "late");
    is_closed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_many_threads_share_it() {
    let address = serve(echo).await;
    let connection = Connector::new().connect(&endpoint(address));
    connection.clone().ready_oneshot().await.unwrap();
    let tasks = (0..64).map(|_| {
        let mut connection = connection.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let response = call(&mut connection, request("/", "hello")).await.unwrap();
                assert_eq!(text(response).await, "hello");
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
}

#[test]
fn it_fits_wherever_services_go() {
    fn fits<T: Clone + Send + Sync + 'static>() {}
    fits::<Connection>();
    fits::<Connector>();
    fn travels<T: Send + Unpin>() {}
    travels::<micro_tower::transport::ResponseFuture>();
    travels::<micro_tower::transport::Body>();
}
