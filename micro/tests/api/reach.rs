//! Requests that would have a face connect to where nobody is registered.

use std::net::{TcpListener, TcpStream};

use http::Response;
use micro_discover::Service as Record;
use tonic::body::Body;

use crate::face::{Answer, Face};
use crate::program::Place;
use crate::service::Services;

/// This machine, in ways that some take for it and some do not.
const HOSTS: [&str; 17] = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::]",
    "0.0.0.0",
    "0",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "017700000001",
    "0177.0.0.1",
    "127%2e0%2e0%2e1",
    "%6cocalhost",
];

/// Paths with a place in them.
const PATHS: [&str; 12] = [
    "/{}/x",
    "//{}/x",
    "/%2f{}/x",
    "/http://{}/x",
    "/http:%2f%2f{}/x",
    "/foo@{}/x",
    "/foo:{}@x/x",
    "/foo/..%2f..%2f{}/x",
    "/unix:{}/x",
    "/proxy?url=http://{}/",
    "/rpc?service=foo&address={}",
    "/{}.S/M",
];

/// Headers that say to some where a request is for.
const HEADERS: [&str; 21] = [
    "x-forwarded-host",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-envoy-original-dst-host",
    "x-micro-service",
    "x-micro-endpoint",
    "x-micro-address",
    "x-micro-target",
    "micro-service",
    "micro-endpoint",
    "micro-method",
    "micro-address",
    "micro-id",
    "micro-topic",
    "micro-from-service",
    "destination",
    "referer",
];

fn request(line: &str, host: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

/// What names `place` in its target, as a path, a URL or an authority.
fn targets(place: &str) -> Vec<String> {
    let paths = PATHS.map(|path| path.replace("{}", place));
    let verbs = |path: &String| ["GET", "POST"].map(|verb| request(&format!("{verb} {path}"), "a", "", ""));
    let mut all: Vec<_> = paths.iter().flat_map(verbs).collect();
    for scheme in ["http", "https", "ws", "ftp", "gopher"] {
        for (target, host) in [
            (format!("{scheme}://{place}/x"), place),
            (format!("{scheme}://{place}/foo/x"), "gateway"),
            (format!("{scheme}://foo@{place}/foo/x"), place),
            (format!("{scheme}://gateway@{place}/foo/x"), "gateway"),
        ] {
            all.push(request(&format!("GET {target}"), host, "", ""));
        }
    }
    all.push(request(&format!("CONNECT {place}"), place, "", ""));
    all.push(request("GET /x", place, "", ""));
    all
}

/// What names it in a header, of requests for nobody and for a service.
fn headers(place: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in ["GET /foo/x", "GET /x", "POST /x.S/M"] {
        for name in HEADERS {
            all.push(request(line, "gateway", &format!("{name}: {place}\r\n"), ""));
            all.push(request(line, "gateway", &format!("{name}: http://{place}/x\r\n"), ""));
        }
        all.push(request(line, "gateway", &format!("forwarded: host={place};for={place}\r\n"), ""));
    }
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    all.push(request(&format!("GET /{place}/x"), "gateway", upgrade, ""));
    for kind in ["application/grpc", "application/grpc-web", "application/json"] {
        let headers = format!("content-type: {kind}\r\nte: trailers\r\n");
        all.push(request("POST /x.S/M", place, &headers, "\0\0\0\0\0"));
        all.push(request(&format!("POST /{place}.S/M"), place, &headers, "\0\0\0\0\0"));
    }
    all
}

/// What names it in a call by name.
fn calls(place: &str) -> Vec<String> {
    let mut all = Vec::new();
    for place in [place.to_owned(), format!("http://{place}"), format!("unix:/{place}")] {
        for (service, method, address) in
            [("foo", "A.B", &*place), (&place, "A.B", ""), ("foo", &place, ""), (&place, &place, &place)]
        {
            let json = serde_json::json!({ "service": service, "method": method, "address": address });
            let kind = "content-type: application/json\r\n";
            all.push(request("POST /rpc", "gateway", kind, &json.to_string()));
            let form = format!("service={service}&method={method}&address={address}&request=%7B%7D");
            let kind = "content-type: application/x-www-form-urlencoded\r\n";
            all.push(request("POST /rpc", "gateway", kind, &form));
        }
    }
    all
}

/// Somebody who is not registered, over both kinds of addresses where there are both.
fn secret() -> (Vec<TcpListener>, u16) {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("::1", port)).ok();
    let all: Vec<_> = [first].into_iter().chain(second).collect();
    all.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
    (all, port)
}

/// Whether what `request` was answered says that nobody was asked, or that `foo` was.
fn is_as_it_should(request: &str, answer: &Answer) -> bool {
    let failed = answer.status >= 400 || answer.header("grpc-status").is_some_and(|status| status != "0");
    // Whatever else one for a service says, it goes there.
    let is_for_foo = request.starts_with("GET /foo/x ");
    if is_for_foo { answer.text().starts_with("foo: GET /foo/x\n") } else { failed }
}

#[test]
fn nothing_in_a_request_leads_to_who_is_not_registered() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let (secret, port) = secret();
    let places = HOSTS.map(|host| format!("{host}:{port}"));
    let requests: Vec<_> =
        places.iter().flat_map(|place| [targets(place), headers(place), calls(place)].concat()).collect();
    for kind in ["api", "sidecar"] {
        let face = Face::of(&place, kind, &[]);
        face.until("/foo/x", 200);
        let ask = |requests: &[String]| {
            for request in requests {
                let answer = Answer::of(&face.say(request));
                assert!(is_as_it_should(request, &answer), "{kind}: {request}: {answer:?}");
            }
        };
        let ask = &ask;
        std::thread::scope(|scope| {
            for part in requests.chunks(requests.len().div_ceil(8)) {
                scope.spawn(move || ask(part));
            }
        });
        println!("{kind}: {} requests", requests.len());
    }
    assert!(secret.iter().all(|listener| listener.accept().is_err()), "somebody connected");
}

#[test]
fn a_service_that_sends_elsewhere_is_not_followed() {
    let place = Place::new();
    let services = Services::new(&place);
    let (secret, port) = secret();
    services.serve(Record::new("foo"), move |request| async move {
        let status: u16 = request.uri().path().rsplit('/').next().unwrap().parse().unwrap_or(200);
        let location = format!("http://127.0.0.1:{port}/x");
        let answer = Response::builder().status(status).header("refresh", format!("0; url={location}"));
        let answer = answer.header("location", location).header("alt-svc", format!("h2=\":{port}\""));
        answer.body(Body::empty()).unwrap()
    });
    let face = Face::start(&place, &[]);
    face.until("/foo/200", 200);
    for status in [301, 302, 303, 307, 308] {
        for verb in ["GET", "POST"] {
            assert_eq!(face.ask(verb, &format!("/foo/{status}"), "", b"").status, status);
        }
    }
    assert!(secret.iter().all(|listener| listener.accept().is_err()), "somebody connected");
    // It would be seen.
    secret[0].set_nonblocking(false).unwrap();
    let _somebody = TcpStream::connect(secret[0].local_addr().unwrap()).unwrap();
    assert!(secret[0].accept().is_ok());
}
