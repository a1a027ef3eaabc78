//! Clients that others wrote, through the gateway: curl, grpcio, and a browser.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use http::Response;
use micro_discover::Service as Record;
use tonic::body::Body;

use crate::face::Face;
use crate::program::Place;
use crate::servers::has;
use crate::service::Services;
use crate::{shop, venv, websocket};

#[test]
fn curl_asks_in_every_way() {
    if !has("curl") {
        return;
    }
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    shop::open(&services);
    let face = Face::start(&place, &[]);
    let curl = |arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "60"])
            .args(arguments)
            .arg(format!("http://{}{path}", face.address));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?} {path}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(curl(&[], "/foo/x?a=b").starts_with("foo: GET /foo/x?a=b\n"));
    assert!(curl(&["--http2-prior-knowledge"], "/foo/x").starts_with("foo: GET /foo/x\n"));
    assert!(curl(&["-X", "PUT", "-d", "x", "-H", "Expect: 100-continue"], "/foo/x").starts_with("foo: PUT"));
    let form = ["-d", "service=shop&method=Shop.Plain&request={\"name\":\"a\"}"];
    assert_eq!(curl(&form, "/rpc"), r#"{"name":"a"}"#);
    let json = ["-H", "content-type: application/json", "-d", "{\"count\":3}"];
    assert_eq!(curl(&json, "/shop/shop/plain"), r#"{"count":"3"}"#);
    assert_eq!(
        curl(&[&json[..], &["--http2-prior-knowledge"]].concat(), "/shop.v1.Shop/Plain"),
        r#"{"count":"3"}"#
    );
    let events = curl(&["-N", "-H", "accept: text/event-stream"], "/v1/items?name=a");
    assert_eq!(events, "id: 1\ndata: {\"name\":\"a\"}\n\nid: 2\ndata: {\"name\":\"a\"}\n\n");
    let status = curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/unknown/x");
    assert_eq!(status, "404");
}

const GRPCIO: &str = r#"
import sys, grpc
raw = dict(request_serializer=lambda b: b, response_deserializer=lambda b: b)
with grpc.insecure_channel(sys.argv[1]) as channel:
    plain = channel.unary_unary("/shop.v1.Shop/Plain", **raw)
    answer, call = plain.with_call(b"\x0a\x01a", timeout=30, metadata=(("x-token", "t"),))
    assert answer == b"\x0a\x01a", answer
    assert ("x-token", "t") in call.initial_metadata(), call.initial_metadata()
    assert len(plain(b"\x42" + b"\xff\xff\x7f" + b"x" * 0x1fffff, timeout=60)) == 0x1fffff + 4
    assert list(channel.unary_stream("/shop.v1.Shop/List", **raw)(b"\x0a\x01a", timeout=30)) == [b"\x0a\x01a"] * 2
    talk = channel.stream_stream("/shop.v1.Shop/Talk", **raw)
    assert list(talk(iter([b"\x0a\x01a", b"\x0a\x01b"]), timeout=30)) == [b"\x0a\x01a", b"\x0a\x01b"]
    for code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED):
        try:
            plain(b"", timeout=30, metadata=(("x-fail", str(code.value[0])),))
            sys.exit("it was to fail")
        except grpc.RpcError as error:
            assert (error.code(), error.details()) == (code, "as you asked"), error
    try:
        channel.unary_unary("/nobody.Here/Call", **raw)(b"", timeout=30)
        sys.exit("nobody was to be there")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
print("well")
"#;

#[test]
fn grpcio_calls_in_every_way() {
    let Some(python) = venv::grpcio() else { return };
    let place = Place::new();
    let services = Services::new(&place);
    shop::open(&services);
    let face = Face::start(&place, &[]);
    let output = Command::new(python).args(["-c", GRPCIO, &face.address.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"well\n");
}

/// Calls by gRPC-Web and opens a WebSocket, of a gateway on another port, and says what came of it.
const PAGE: &str = r#"<!doctype html><script>
const face = location.search.slice(1);
const hex = bytes => [...bytes].map(byte => byte.toString(16).padStart(2, "0")).join("");
async function call(kind, body) {
  try {
    const headers = {"content-type": kind, "accept": kind, "x-grpc-web": "1"};
    const answer = await fetch("http://" + face + "/shop.v1.Shop/Plain", {method: "POST", headers, body});
    return answer.status + " " + hex(new Uint8Array(await answer.arrayBuffer()));
  } catch (error) { return error.name; }
}
function talk() {
  return new Promise(done => {
    const socket = new WebSocket("ws://" + face + "/chat/room");
    socket.onopen = () => socket.send("hello");
    socket.onmessage = event => done(event.data);
    socket.onerror = () => done("refused");
  });
}
(async () => {
  const said = [
    await call("application/grpc-web+proto", new Uint8Array([0, 0, 0, 0, 3, 10, 1, 97])),
    await call("application/grpc-web-text", btoa(String.fromCharCode(0, 0, 0, 0, 3, 10, 1, 97))),
    await talk(),
  ];
  await fetch("/said", {method: "POST", body: said.join("\n")});
})();
</script>"#;

#[test]
fn a_browsers_page_calls_by_grpc_web_and_opens_a_websocket_where_it_may() {
    let Some(browser) = browser() else { return };
    let place = Place::new();
    let services = Services::new(&place);
    shop::open(&services);
    websocket::parrot(&services, "chat");
    let (say, said) = channel();
    let page = services.serve_raw(Record::new("page"), move |request| {
        let say = say.clone();
        async move {
            if request.method() == http::Method::POST {
                let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
                say.send(String::from_utf8(body.to_vec()).unwrap()).unwrap();
                return Response::new(Body::empty());
            }
            Response::builder().header("content-type", "text/html").body(Body::new(PAGE.to_owned())).unwrap()
        }
    });
    let open = |face: &Face| {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(&browser);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg("--remote-debugging-port=0").arg(format!("http://{page}/?{}", face.address));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let heard = said.recv_timeout(Duration::from_secs(90));
        child.kill().unwrap();
        child.wait().unwrap();
        heard.expect("the page says what came of it")
    };
    let friendly = Face::start(&place, &["--cors", &format!("http://{page}")]);
    let heard = open(&friendly);
    let lines: Vec<_> = heard.lines().collect();
    assert!(lines[0].starts_with("200 00000000030a016180"), "{heard}");
    // The same message in base64, and that in hexadecimal.
    assert!(lines[1].starts_with(&format!("200 {}", hex(b"AAAAAAMKAW"))), "{heard}");
    assert_eq!(lines[2], "hello");

    let closed = Face::start(&place, &[]);
    assert_eq!(open(&closed), "TypeError\nTypeError\nrefused");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Chromium; none where there is none, which CI does not allow.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|program| program.is_file());
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs chromium on PATH");
        println!("skipped: no chromium on PATH");
    }
    found
}
