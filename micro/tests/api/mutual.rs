//! Who is let in by certificates, on both sides of the gateway: clients, and services.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use micro_discover::{Endpoint, Service as Record};
use micro_tower::Server;
use micro_tower::server::ServerTls;
use micro_tower::transport::{Connection, Connector, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use tonic::body::Body;
use tower::{BoxError, Service as _, ServiceExt as _};

use crate::face::Face;
use crate::program::{Place, Running};
use crate::rotation::{Authority, authority};
use crate::service::Services;

const GATEWAY: &str = "spiffe://example.org/gateway";
const VISITOR: &str = "spiffe://example.org/visitor";

/// A certificate of this machine with `uris`, and its key, in PEM.
pub(crate) fn certify(
    authority: &Authority,
    uris: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> [String; 2] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    [certificate.pem(), key.serialize_pem()]
}

/// Writes files of `place`, and says where they are.
fn write<const N: usize>(place: &Place, names: [&str; N], texts: [&str; N]) -> [String; N] {
    let mut texts = texts.into_iter();
    names.map(|name| {
        let path = place.path(name);
        std::fs::write(&path, texts.next().unwrap()).unwrap();
        path.display().to_string()
    })
}

/// A gateway over TLS that serves clients of `ours`.
pub(crate) fn gateway(place: &Place, ours: &Authority, more: &[&str]) -> (Running, SocketAddr) {
    let [chain, key] = certify(ours, &[GATEWAY], |_| {});
    let [chain, key, roots] = write(place, ["cert", "key", "roots"], [&chain, &key, &ours.pem()]);
    let tls = ["--tls-cert-file", &chain, "--tls-key-file", &key, "--tls-client-ca-file", &roots];
    let mut running = place.start(&[&["api", "--address", "127.0.0.1:0"], &tls[..], more].concat());
    let line = running.line();
    let address = line.strip_prefix("api listens on https://").unwrap_or_else(|| panic!("{line}"));
    let address = address.parse().unwrap();
    (running, address)
}

pub(crate) async fn get(address: SocketAddr, tls: Tls) -> Result<u16, BoxError> {
    let endpoint = Endpoint::new("it", format!("https://{address}").parse().unwrap());
    let connector = Connector::new().connect_timeout(Duration::from_secs(10)).tls(tls);
    let mut connection: Connection = connector.connect(&endpoint);
    let answer = async { connection.ready().await?.call(Request::get("/foo/x").body(Body::empty())?).await };
    Ok(tokio::time::timeout(Duration::from_secs(20), answer).await??.status().as_u16())
}

type Change = fn(&mut CertificateParams);

#[test]
fn a_client_is_let_in_by_one_id_and_by_nothing_else() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let (ours, other) = (authority(), authority());
    let (_running, address) = gateway(&place, &ours, &["--tls-client-spiffe", VISITOR]);
    let roots = ours.pem();
    let ask = |[chain, key]: [String; 2]| {
        let tls = Tls::mutual(roots.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap();
        services.runtime.block_on(get(address, tls))
    };
    assert_eq!(ask(certify(&ours, &[VISITOR], |_| {})).unwrap(), 200);
    let nothing: Change = |_| {};
    let cases: [(&str, &Authority, &[&str], Change); 16] = [
        ("another authority", &other, &[VISITOR], nothing),
        ("has expired", &ours, &[VISITOR], |it| it.not_after = date_time_ymd(2001, 1, 1)),
        ("does not hold yet", &ours, &[VISITOR], |it| it.not_before = date_time_ymd(2999, 1, 1)),
        ("another id", &ours, &["spiffe://example.org/other"], nothing),
        ("an id below", &ours, &["spiffe://example.org/visitor/x"], nothing),
        ("another trust domain", &ours, &["spiffe://evil.org/visitor"], nothing),
        ("the trust domain itself", &ours, &["spiffe://example.org"], nothing),
        ("capitals", &ours, &["spiffe://EXAMPLE.org/visitor"], nothing),
        ("two ids", &ours, &[VISITOR, GATEWAY], nothing),
        ("another URI beside it", &ours, &[VISITOR, "https://example.org/"], nothing),
        ("another scheme", &ours, &["https://example.org/visitor"], nothing),
        ("no id", &ours, &[], nothing),
        ("an authority", &ours, &[VISITOR], |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ("signs certificates", &ours, &[VISITOR], |it| it.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        ("signs revocations", &ours, &[VISITOR], |it| it.key_usages = vec![KeyUsagePurpose::CrlSign]),
        ("a server's", &ours, &[VISITOR], |it| {
            it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
    ];
    for (why, by, uris, change) in cases {
        assert!(ask(certify(by, uris, change)).is_err(), "{why} was let in");
    }
    let anonymous = Tls::trusting(roots.as_bytes()).unwrap();
    assert!(services.runtime.block_on(get(address, anonymous)).is_err(), "nothing was shown");
    for version in [1, 2] {
        assert_eq!(first_byte(address, &old_hello(version)), Some(ALERT), "TLS 1.{}", version - 1);
    }
    assert_eq!(first_byte(address, b"GET /foo/x HTTP/1.1\r\nhost: a\r\n\r\n"), Some(ALERT));
    assert_eq!(ask(certify(&ours, &[VISITOR], |_| {})).unwrap(), 200);
}

const ALERT: u8 = 21;

/// What a client says first that knows nothing newer than TLS 1.0, or 1.1.
fn old_hello(version: u8) -> Vec<u8> {
    let suites = [0xc0, 0x09, 0xc0, 0x13, 0x00, 0x2f];
    let hello = [&[3, version][..], &[7; 32], &[0, 0, 6], &suites, &[1, 0]].concat();
    let length = hello.len() as u8;
    [&[22, 3, version, 0, length + 4, 1, 0, 0, length][..], &hello].concat()
}

fn first_byte(address: SocketAddr, said: &[u8]) -> Option<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(said).unwrap();
    let mut byte = [0];
    (stream.read(&mut byte).unwrap() == 1).then_some(byte[0])
}

#[test]
fn ids_that_are_none_are_a_wrong_setting() {
    let place = Place::new();
    let ours = authority();
    let [chain, key] = certify(&ours, &[], |_| {});
    let [chain, key, roots] = write(&place, ["cert", "key", "roots"], [&chain, &key, &ours.pem()]);
    let tls = ["api", "--tls-cert-file", &chain, "--tls-key-file", &key];
    let run = place.run(&[&tls[..], &["--tls-client-spiffe", VISITOR]].concat());
    assert_eq!(run.code, Some(2), "clients are not asked for certificates: {run:?}");
    let wrong = ["--tls-client-ca-file", &roots, "--tls-client-spiffe", "visitor"];
    let run = place.run(&[&tls[..], &wrong].concat());
    assert!(run.code == Some(2) && run.err.contains("no SPIFFE id"), "{run:?}");
    let run = place.run(&["api", "--spiffe", VISITOR]);
    assert!(run.code == Some(2) && run.err.contains("--ca"), "{run:?}");
}

/// Everybody's certificates and authorities, in files: `NAME.crt`, `NAME.key` and `trusted`.
struct Town<'a>(&'a Place);

impl Town<'_> {
    fn write(&self, of: &Authority, trusted: &[&Authority]) {
        for (name, id) in [("shop", "spiffe://example.org/shop"), ("gateway", GATEWAY)] {
            let [chain, key] = certify(of, &[id], |_| {});
            write(self.0, [&format!("{name}.crt"), &format!("{name}.key")], [&chain, &key]);
        }
        let roots: String = trusted.iter().map(|authority| authority.pem()).collect();
        write(self.0, ["trusted"], [&roots]);
        // Each looks once a second.
        std::thread::sleep(Duration::from_millis(2200));
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name).display().to_string()
    }

    /// A service that only the gateway may call, over connections that do not last.
    fn shop(&self, services: &Services) -> SocketAddr {
        let tls = ServerTls::files(self.path("shop.crt"), self.path("shop.key")).unwrap();
        let tls = tls.clients_of_file(self.path("trusted")).unwrap();
        let tls = tls.spiffe([GATEWAY.parse().unwrap()]).unwrap();
        let server = Server::new().tls(tls);
        let server = server.max_connection_age(Duration::from_millis(200), Duration::from_secs(10));
        services.start(server, Record::new("shop"), |_| async { Response::new(Body::empty()) })
    }

    /// A face that calls as the gateway, and trusts who has `id`.
    fn face(&self, kind: &str, id: &str) -> Face {
        let [roots, cert, key] = ["trusted", "gateway.crt", "gateway.key"].map(|name| self.path(name));
        Face::of(self.0, kind, &["--ca", &roots, "--cert", &cert, "--key", &key, "--spiffe", id])
    }
}

#[test]
fn services_are_called_by_certificates_which_change_and_no_request_fails() {
    let place = Place::new();
    let services = Services::new(&place);
    let (before, after) = (authority(), authority());
    let town = Town(&place);
    town.write(&before, &[&before]);
    town.shop(&services);
    let shop = "spiffe://example.org/shop";
    let faces = ["api", "sidecar"].map(|kind| town.face(kind, shop));
    for face in &faces {
        face.until("/shop/x", 200);
    }
    let wrong = town.face("api", "spiffe://example.org/other");
    assert!(wrong.get("/shop/x").status >= 500, "another service was called");
    let stranger = Face::of(&place, "api", &["--ca", &town.path("trusted")]);
    assert!(stranger.get("/shop/x").status >= 500, "a stranger called it");

    let enough = Arc::new(AtomicBool::new(false));
    let load = |face: &Face| {
        let (mut failed, mut answered) = (Vec::new(), 0);
        while !enough.load(Relaxed) {
            let answer = face.ask("POST", "/shop/x", "", b"once");
            answered += 1;
            if answer.status != 200 {
                failed.push(answer);
            }
        }
        assert!(answered > 50, "{answered}");
        failed
    };
    let failed = std::thread::scope(|scope| {
        let load = &load;
        let clients: Vec<_> = faces.iter().map(|face| scope.spawn(move || load(face))).collect();
        // Both are trusted, then the next is shown, then the last is trusted no more.
        town.write(&before, &[&before, &after]);
        town.write(&after, &[&before, &after]);
        town.write(&after, &[&after]);
        enough.store(true, Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(failed.is_empty(), "{}: {:?}", failed.len(), failed.first());
}
