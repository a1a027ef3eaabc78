//! A server's life: announced, serving, told to stop, withdrawn, drained.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use micro_balance::limit::LimitLayer;
use micro_discover::{Memory, Registry, Service};
use micro_tower::{Client, Server, server::ServeError, transport::Connector};
use peer::{call, endpoint, request, text};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{body::Body, transport::server::TcpConnectInfo};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{BoxError, Layer as _, service_fn};

async fn hello(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::new(String::from("hello"))))
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

async fn run<S, B>(server: Server, service: S) -> Running
where
    S: tower::Service<Request<Body>, Error: Into<BoxError>, Future: Send, Response = Response<B>>,
    S: Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let bound = server.bind().await.unwrap();
    let address = bound.local_address();
    let (stop, told) = oneshot::channel();
    let stopped = async {
        let _ = told.await;
    };
    Running { address, stop, ended: tokio::spawn(bound.serve_until(service, stopped)) }
}

fn announced(registry: &Memory) -> Server {
    Server::new()
        .announce(Arc::new(registry.clone()), Service::new("greeter"))
        .propagation(Duration::from_millis(20))
}

#[tokio::test]
async fn a_server_that_is_found_can_be_called_and_one_that_stopped_is_not_found() {
    let registry = Memory::default();
    let running = run(announced(&registry), service_fn(hello)).await;
    let client = Client::builder("greeter", Arc::new(registry.clone())).build();
    assert_eq!(text(client.send(request("/", "")).await.unwrap()).await, "hello");
    let found = registry.get("greeter").await.unwrap();
    assert_eq!(found[0].endpoints[0].address.to_string(), running.address.to_string());
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
    let left: Vec<_> = registry.get("greeter").await.unwrap().into_iter().flat_map(|s| s.endpoints).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn replicas_that_restart_in_turn_under_load_cost_no_call() {
    let registry = Memory::default();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(run(announced(&registry), service_fn(hello)).await);
    }
    let client = Client::builder("greeter", Arc::new(registry.clone())).build();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (client, over) = (client.clone(), over.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !over.load(SeqCst) {
                    let response = client.send(request("/", "x")).await.expect("no call is lost");
                    assert_eq!(text(response).await, "hello");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for replica in replicas {
        let next = run(announced(&registry), service_fn(hello)).await;
        replica.stop.send(()).unwrap();
        replica.ended.await.unwrap().unwrap();
        std::mem::forget(next.stop);
    }
    over.store(true, SeqCst);
    let calls: Vec<u32> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
    assert!(calls.into_iter().all(|calls| calls > 0));
}

#[tokio::test]
async fn what_was_begun_is_finished_and_new_connections_are_not_taken() {
    let (arrived, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (arrived.clone(), finish.clone());
    let slow = service_fn(move |request| {
        let (tell, wait) = (tell.clone(), wait.clone());
        async move {
            tell.notify_one();
            wait.notified().await;
            hello(request).await
        }
    });
    for connector in [Connector::http2(), Connector::http1()] {
        let mut running = run(Server::new(), slow.clone()).await;
        let mut connection = connector.connect(&endpoint(running.address));
        let begun = tokio::spawn(async move { call(&mut connection, request("/", "x")).await.unwrap() });
        arrived.notified().await;
        running.stop.send(()).unwrap();
        // It has stopped listening when nobody can connect, and it has not ended.
        while tokio::net::TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(timeout(Duration::from_millis(20), &mut running.ended).await.is_err());
        finish.notify_one();
        assert_eq!(text(begun.await.unwrap()).await, "hello");
        running.ended.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_does_not_finish_is_cut_after_the_grace() {
    let endless = service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let running = run(Server::new().grace(Duration::from_millis(30)), endless).await;
    let mut connection = Connector::new().connect(&endpoint(running.address));
    let begun = tokio::spawn(async move { call(&mut connection, request("/", "x")).await });
    sleep(Duration::from_millis(20)).await;
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
    assert!(begun.await.unwrap().is_err());
}

#[tokio::test]
async fn health_turns_before_the_server_stops_serving() {
    let registry = Memory::default();
    let running = run(announced(&registry).propagation(Duration::from_secs(60)), service_fn(hello)).await;
    let fixed = format!("fixed://{}", running.address);
    let mut health = HealthClient::new(Client::builder("any", micro_discover::open(&fixed).unwrap()).build());
    for name in ["", "greeter"] {
        let watching = health.watch(HealthCheckRequest { service: name.into() }).await;
        assert_eq!(watching.unwrap().into_inner().message().await.unwrap().unwrap().status, 1);
    }
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    running.stop.send(()).unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    // It serves on until clients have heard that it is gone.
    let mut connection = Connector::new().connect(&endpoint(running.address));
    assert_eq!(text(call(&mut connection, request("/", "")).await.unwrap()).await, "hello");
    running.ended.abort();
}

#[tokio::test]
async fn an_address_that_nobody_can_call_is_not_announced() {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = announced(&Memory::default()).address(any).bind().await.unwrap_err();
    assert!(error.to_string().contains("clients cannot call 0.0.0.0:"), "{error}");
    let told = announced(&Memory::default()).address(any).endpoint(|mut endpoint| {
        endpoint.address = "greeter.example:80".parse().unwrap();
        endpoint.zone("a")
    });
    assert!(told.bind().await.is_ok());
}

#[tokio::test]
async fn an_address_in_use_is_said() {
    let (_taken, address) = peer::listen().await;
    let error = Server::new().address(address).bind().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}: is it this machine's, and free?"));
}

#[tokio::test]
async fn more_connections_than_allowed_wait_their_turn() {
    let running = run(Server::new().max_connections(1), service_fn(hello)).await;
    let mut first = Connector::new().connect(&endpoint(running.address));
    assert_eq!(text(call(&mut first, request("/", "")).await.unwrap()).await, "hello");
    let connector = Connector::new().connect_timeout(Duration::from_millis(50));
    let mut second = connector.connect(&endpoint(running.address));
    assert!(call(&mut second, request("/", "")).await.is_err());
    drop(first);
    let mut third = Connector::new().connect(&endpoint(running.address));
    assert_eq!(text(call(&mut third, request("/", "")).await.unwrap()).await, "hello");
}

/// A connection from another address of this machine.
async fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn who_fills_the_house_and_says_nothing_keeps_nobody_out() {
    let running = run(Server::new().max_connections(8), service_fn(hello)).await;
    let (greedy, honest) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let mut silent = Vec::new();
    // Half of a request is nothing yet.
    for said in ["", "GET / HTTP/1.1\r\nhost: a\r\n"].iter().cycle().take(20) {
        let mut stream = from(greedy, running.address).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let get = async |stream: &mut TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            answer.push(stream.read_u8().await?);
        }
        std::io::Result::Ok(())
    };
    let mut kept = from(honest, running.address).await;
    get(&mut kept).await.unwrap();
    for stream in &mut silent[..12] {
        assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)), "the oldest are ended");
    }
    // Who asks once and says nothing then is no better.
    for _ in 0..20 {
        let mut stream = from(greedy, running.address).await;
        let _ = get(&mut stream).await;
        silent.push(stream);
    }
    for _ in 0..3 {
        get(&mut from(honest, running.address).await).await.unwrap();
    }
    get(&mut kept).await.expect("who has few keeps them");
}

#[tokio::test]
async fn a_request_with_too_many_headers_is_answered_and_ends_nobody_elses() {
    let server = run(Server::new(), service_fn(hello)).await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut ask = |headers: usize, content_type: &'static str| {
        let mut request = Request::get("http://a/").header("content-type", content_type);
        for number in 0..headers {
            request = request.header(format!("x-{number}"), format!("{number:01000}"));
        }
        sender.send_request(request.body(()).unwrap(), true).unwrap().0
    };
    let asked = [0, 10, 20, 100, 0].map(|headers| ask(headers, "text/plain"));
    let grpc = ask(20, "application/grpc");
    let mut said = Vec::new();
    for answer in asked {
        said.push(answer.await.unwrap().status().as_u16());
    }
    assert_eq!(said, [200, 200, 431, 431, 200]);
    assert_eq!(grpc.await.unwrap().headers()["grpc-status"], "8");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_said_is_closed() {
    use tokio::io::AsyncReadExt as _;
    let running = run(Server::new().header_timeout(Duration::from_millis(30)), service_fn(hello)).await;
    let mut silent = tokio::net::TcpStream::connect(running.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_of_http2_on_which_nothing_is_asked_is_closed_without_the_client() {
    let running = run(Server::new().header_timeout(Duration::from_millis(30)), service_fn(hello)).await;
    let mut silent = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    silent.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await.unwrap();
    // It answers no PING. That would be noticed as well, after half a minute.
    let closed = timeout(Duration::from_secs(15), silent.read_to_end(&mut Vec::new())).await;
    closed.expect("it is closed soon").ok();
}

/// The system would keep what it has taken for a client who does not read, megabytes for each, until he does.
#[tokio::test]
async fn of_a_client_who_is_given_up_the_system_keeps_nothing() {
    use tokio::io::AsyncReadExt as _;
    let much = Bytes::from(vec![0; 64 << 20]);
    let answer = move |_| {
        let much = much.clone();
        async move { Ok::<_, Infallible>(Response::new(Body::new(http_body_util::Full::new(much)))) }
    };
    let running = run(Server::new().stall_timeout(Duration::from_millis(200)), service_fn(answer)).await;
    let mut client = tokio::net::TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // He is told at once, and without the megabytes in between: an error comes before data that has not arrived.
    let given_up = timeout(Duration::from_secs(10), client.ready(tokio::io::Interest::ERROR)).await;
    assert!(given_up.expect("it is reset").unwrap().is_error());
    let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// At 400 kB a second. The system would take megabytes for him, and have room for more only once a third of them are gone.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_who_reads_slowly_is_not_one_who_reads_nothing() {
    use tokio::io::AsyncReadExt as _;
    let much = Bytes::from(vec![0; 64 << 20]);
    let answer = move |_| {
        let much = much.clone();
        async move { Ok::<_, Infallible>(Response::new(Body::new(http_body_util::Full::new(much)))) }
    };
    let running = run(Server::new().stall_timeout(Duration::from_secs(2)), service_fn(answer)).await;
    let mut client = tokio::net::TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut some = vec![0; 16 << 10];
    for _ in 0..125 {
        client.read_exact(&mut some).await.unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// Linux tells of each connection which timer runs for it: 2 is the one that asks after the peer.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_system_asks_after_clients_that_have_fallen_silent() {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(_) => panic!("servers listen on 127.0.0.1 unless told otherwise"),
    };
    let running = run(Server::new(), service_fn(hello)).await;
    let mut connection = Connector::new().connect(&endpoint(running.address));
    // Answered, so that nothing is on its way any more.
    assert_eq!(text(call(&mut connection, request("/", "")).await.unwrap()).await, "hello");
    let asked_after = || {
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        // State 1 is a connection, not the socket that listens.
        let ours = |fields: &Vec<String>| fields[1] == hex(running.address) && fields[3] == "01";
        connections.lines().map(fields).find(ours).is_some_and(|fields| fields[5].starts_with("02:"))
    };
    // An acknowledgement may still be awaited, for which another timer runs.
    for _ in 0..500 {
        if asked_after() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the system does not ask whether the client is still there");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn it_serves_over_tls() {
    use micro_tower::{server::ServerTls, transport::Tls};
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let tls = ServerTls::new(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
    let registry = Memory::default();
    let running = run(announced(&registry).tls(tls), service_fn(hello)).await;
    let connector = Connector::new().tls(Tls::trusting(cert.pem().as_bytes()).unwrap());
    let client = Client::builder("greeter", Arc::new(registry)).connector(connector).build();
    assert_eq!(text(client.send(request("/", "")).await.unwrap()).await, "hello");
    assert!(client.endpoints()[0].state == micro_balance::State::Ready);
    drop(running);
}

#[tokio::test]
async fn what_crosses_the_end_of_its_connection_over_http1_is_answered_and_told_that_it_was_the_last() {
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let running = run(Server::new(), service_fn(hello)).await;
    let mut used = TcpStream::connect(running.address).await.unwrap();
    let fresh = TcpStream::connect(running.address).await.unwrap();
    let mut answer = Vec::new();
    used.write_all(ASK).await.unwrap();
    while !answer.ends_with(b"hello") {
        used.read_buf(&mut answer).await.unwrap();
    }
    assert!(!String::from_utf8(answer).unwrap().contains("connection: close"));

    running.stop.send(()).unwrap();
    // Before the server has heard that it is to stop, and before the system has told it of these.
    assert_eq!([&used, &fresh].map(|stream| stream.try_write(ASK).unwrap()), [ASK.len(); 2]);
    let last = [used, fresh].map(|mut stream| async move {
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains("connection: close") {
            if !answer.is_empty() {
                stream.write_all(ASK).await.unwrap();
            }
            answer.clear();
            while !answer.ends_with(b"hello") {
                assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "there is an answer to each");
            }
        }
        assert_eq!(stream.read_buf(&mut answer).await.unwrap(), 0);
    });
    join_all(last).await;
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_is_old_is_replaced_and_costs_no_call() {
    let peers = Arc::new(Mutex::new(HashSet::new()));
    let seen = peers.clone();
    let service = service_fn(move |request: Request<Body>| {
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        seen.lock().unwrap().insert(peer.unwrap());
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let server = Server::new().max_connection_age(Duration::from_millis(20), Duration::MAX);
    let running = run(server, service).await;
    // Over HTTP/1 a request may cross the end of its connection on the way: one that may be repeated is.
    for (connector, method) in [(Connector::http2(), Method::POST), (Connector::http1(), Method::GET)] {
        peers.lock().unwrap().clear();
        let registry = micro_discover::open(&format!("fixed://{}", running.address)).unwrap();
        let client = Client::builder("greeter", registry).connector(connector).build();
        while peers.lock().unwrap().len() < 5 {
            let request = Request::builder().method(method.clone()).uri("/").body(Body::empty()).unwrap();
            client.send(request).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_begun_on_an_old_connection_has_its_grace_and_no_more() {
    let service = service_fn(|_: Request<Body>| async {
        sleep(Duration::from_millis(200)).await;
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    for (grace, answered) in [(Duration::MAX, true), (Duration::from_millis(20), false)] {
        let running = run(Server::new().max_connection_age(Duration::from_millis(20), grace), service).await;
        let registry = micro_discover::open(&format!("fixed://{}", running.address)).unwrap();
        let client = Client::builder("greeter", registry).build();
        let answer = client.send(Request::post("/").body(Body::empty()).unwrap()).await;
        assert_eq!(answer.is_ok(), answered, "{grace:?}");
    }
}

#[tokio::test]
async fn what_a_layer_of_the_service_turns_away_is_answered_and_breaks_no_stream() {
    for connector in [Connector::http2(), Connector::http1()] {
        let begun = Arc::new(Notify::new());
        let told = begun.clone();
        let busy = service_fn(move |_: Request<Body>| {
            told.notify_one();
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let running = run(Server::new(), LimitLayer::new(1).http().layer(busy)).await;
        let connection = connector.connect(&endpoint(running.address));
        let (mut first, mut second) = (connection.clone(), connection);
        tokio::select! {
            _ = call(&mut first, request("/", "")) => panic!("nobody answers it"),
            answer = async {
                begun.notified().await;
                call(&mut second, request("/", "")).await.unwrap()
            } => assert_eq!(answer.status(), http::StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
