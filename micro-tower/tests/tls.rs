//! Certificates: whose are taken, and how a server's is renewed under load.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use micro_discover::Endpoint;
use micro_tower::{
    Server,
    server::ServerTls,
    transport::{Connection, Connector, SpiffeId, Tls},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::{BoxError, Service as _, ServiceExt as _, service_fn};

/// An authority of the test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certifies a host by its name and these URIs.
    fn certify(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

async fn serve(tls: ServerTls) -> SocketAddr {
    let hello = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let bound = Server::new().tls(tls).bind().await.unwrap();
    let address = bound.local_address();
    tokio::spawn(bound.serve_until(hello, std::future::pending()));
    address
}

async fn call(address: SocketAddr, tls: Tls) -> Result<(), BoxError> {
    let endpoint = Endpoint::new("a", format!("https://localhost:{}", address.port()).parse().unwrap());
    let connector = Connector::new().connect_timeout(Duration::from_secs(10)).tls(tls);
    let mut connection: Connection = connector.connect(&endpoint);
    let request = Request::get("/").body(Body::empty())?;
    let answer = async { connection.ready().await?.call(request).await };
    timeout(Duration::from_secs(20), answer).await??;
    Ok(())
}

#[tokio::test]
async fn a_wrong_scheme_is_told_from_a_server_that_is_not_there() {
    let authority = Authority::new();
    let identity = authority.certify(&[], |_| {});
    let tls = ServerTls::new(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
    let secured = serve(tls).await.port();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = plain.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            kept.push(stream);
        }
    });
    let error = call(address, Tls::trusting(authority.pem().as_bytes()).unwrap()).await.unwrap_err();
    let said = micro_tower::status::grpc(error);
    assert!(said.message().ends_with("this endpoint does not speak TLS: http:// may reach it"), "{said:?}");

    let endpoint = Endpoint::new("a", format!("http://127.0.0.1:{secured}").parse().unwrap());
    let error = Connector::new().connect_with::<Body>(&endpoint).ready_oneshot().await.err().unwrap();
    let said = micro_tower::status::grpc(error);
    assert!(said.message().contains("without TLS (it answered with TLS): https:// may"), "{said:?}");
}

const GREETER: &str = "spiffe://example.org/greeter";
const VISITOR: &str = "spiffe://example.org/visitor";

#[tokio::test]
async fn both_sides_take_the_ids_they_expect_and_no_others() {
    let (ours, other) = (Authority::new(), Authority::new());
    let greeter = ours.certify(&[GREETER], |_| {});
    let tls =
        ServerTls::mutual(ours.pem().as_bytes(), greeter.chain.as_bytes(), greeter.key.as_bytes()).unwrap();
    let address = serve(tls.spiffe([id(VISITOR)]).unwrap()).await;
    let client = |authority: &Authority, identity: Identity, server: &str| {
        let roots = ours.pem();
        let _ = authority;
        let tls = Tls::mutual(roots.as_bytes(), identity.chain.as_bytes(), identity.key.as_bytes());
        tls.unwrap().spiffe([id(server)])
    };
    call(address, client(&ours, ours.certify(&[VISITOR], |_| {}), GREETER)).await.unwrap();
    call(address, client(&ours, ours.certify(&[VISITOR], |_| {}), "spiffe://example.org")).await.unwrap();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2001, 1, 1);
    for (why, identity, server) in [
        ("another server", ours.certify(&[VISITOR], |_| {}), "spiffe://example.org/other"),
        ("another client", ours.certify(&[GREETER], |_| {}), GREETER),
        ("two ids", ours.certify(&[VISITOR, GREETER], |_| {}), GREETER),
        ("no id", ours.certify(&[], |_| {}), GREETER),
        ("another authority", other.certify(&[VISITOR], |_| {}), GREETER),
        ("an expired certificate", ours.certify(&[VISITOR], expired), GREETER),
    ] {
        assert!(call(address, client(&ours, identity, server)).await.is_err(), "{why} was let in");
    }
    let anonymous = Tls::trusting(ours.pem().as_bytes()).unwrap();
    assert!(call(address, anonymous).await.is_err(), "a client without a certificate was let in");
}

#[tokio::test]
async fn a_certificate_is_renewed_from_its_files_and_no_call_fails() {
    let (before, after) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (directory.path().join("server.pem"), directory.path().join("server.key"));
    let write = |identity: &Identity| {
        std::fs::write(&chain, &identity.chain).unwrap();
        std::fs::write(&key, &identity.key).unwrap();
    };
    write(&before.certify(&[], |_| {}));
    let address = serve(ServerTls::files(&chain, &key).unwrap()).await;
    let both = Tls::trusting(format!("{}{}", before.pem(), after.pem()).as_bytes()).unwrap();
    let only_after = Tls::trusting(after.pem().as_bytes()).unwrap();
    assert!(call(address, only_after.clone()).await.is_err(), "the first authority is another");
    let over = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let over = over.clone();
        async move {
            let mut calls = 0;
            while !over.load(SeqCst) {
                call(address, both.clone()).await.expect("no call fails");
                calls += 1;
            }
            calls
        }
    });
    // What does not fit together is not shown.
    std::fs::write(&chain, &after.certify(&[], |_| {}).chain).unwrap();
    sleep(Duration::from_millis(1200)).await;
    write(&after.certify(&[], |_| {}));
    let renewed = async {
        while call(address, only_after.clone()).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), renewed).await.expect("the next certificate is shown");
    over.store(true, SeqCst);
    assert!(load.await.unwrap() > 0);
}

/// What a server that asks for certificates, and a client that shows one, have in files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    /// Both sides have certificates of `authority`, and trust those in `trusted`.
    fn write(&self, authority: &Authority, trusted: &[&Authority]) {
        let write = |name: &str, text: &str| std::fs::write(self.path(name), text).unwrap();
        write("roots", &trusted.iter().map(|authority| authority.pem()).collect::<String>());
        for (name, id) in [("server", GREETER), ("client", VISITOR)] {
            let identity = authority.certify(&[id], |_| {});
            write(&format!("{name}.pem"), &identity.chain);
            write(&format!("{name}.key"), &identity.key);
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

#[tokio::test]
async fn both_sides_change_their_authority_from_files_and_no_call_fails() {
    let (before, after) = (Authority::new(), Authority::new());
    let files = Files { directory: tempfile::tempdir().unwrap() };
    files.write(&before, &[&before]);
    let path = |name| files.path(name);
    let tls = ServerTls::files(path("server.pem"), path("server.key")).unwrap();
    let tls = tls.clients_of_file(path("roots")).unwrap().spiffe([id(VISITOR)]).unwrap();
    let address = serve(tls).await;
    let client = Tls::files(path("roots"), Some((&path("client.pem"), &path("client.key")))).unwrap();
    let client = client.spiffe([id(GREETER)]);
    let over = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (over, client) = (over.clone(), client.clone());
        async move {
            while !over.load(SeqCst) {
                call(address, client.clone()).await.expect("no call fails");
            }
        }
    });
    let of = |authority: &Authority| {
        let identity = authority.certify(&[VISITOR], |_| {});
        let roots = format!("{}{}", before.pem(), after.pem());
        let tls = Tls::mutual(roots.as_bytes(), identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
        tls.spiffe([id(GREETER)])
    };
    let until = async |authority: &Authority, well: bool| {
        let waiting = async {
            while call(address, of(authority)).await.is_ok() != well {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(20), waiting).await.expect("what the files hold holds");
        // The client that follows them has looked as well.
        sleep(Duration::from_millis(2200)).await;
    };
    // Both are trusted, then the next is shown, then the last is trusted no more.
    files.write(&before, &[&before, &after]);
    until(&after, true).await;
    files.write(&after, &[&before, &after]);
    until(&after, true).await;
    files.write(&after, &[&after]);
    until(&before, false).await;
    over.store(true, SeqCst);
    load.await.unwrap();
    call(address, client).await.unwrap();
}

#[tokio::test]
async fn a_name_is_looked_at_where_authorities_are_in_a_file() {
    let ours = Authority::new();
    let named = ours.certify(&[], |_| {});
    let other = ours.certify(&[], |params| {
        params.subject_alt_names = vec![SanType::DnsName("other".try_into().unwrap())];
    });
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), ours.pem()).unwrap();
    let client = || Tls::files(roots.path(), None).unwrap();
    let server = |it: &Identity| ServerTls::new(it.chain.as_bytes(), it.key.as_bytes()).unwrap();
    call(serve(server(&named)).await, client()).await.unwrap();
    let elsewhere = serve(server(&other)).await;
    assert!(call(elsewhere, client()).await.is_err(), "another name was taken");
    call(elsewhere, client().server_name("other").unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_session_does_not_outlive_the_certificate_that_it_began_with() {
    use rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };

    let ours = Authority::new();
    let greeter = ours.certify(&[], |_| {});
    let address = serve(
        ServerTls::mutual(ours.pem().as_bytes(), greeter.chain.as_bytes(), greeter.key.as_bytes()).unwrap(),
    )
    .await;
    let visitor = ours.certify(&[VISITOR], |_| {});
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ours.pem().as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(visitor.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(visitor.key.as_bytes()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let client = client.with_root_certificates(roots.clone());
        let client = Arc::new(client.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap());
        for _ in 0..3 {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(client.clone());
            let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            // What could be resumed later comes behind the handshake, before the answer.
            let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Full), "{version:?}");
        }
    }
}

#[tokio::test]
async fn two_ids_in_one_certificate_are_refused_where_nobody_is_named() {
    let ours = Authority::new();
    let greeter = ours.certify(&[], |_| {});
    let tls =
        ServerTls::mutual(ours.pem().as_bytes(), greeter.chain.as_bytes(), greeter.key.as_bytes()).unwrap();
    let address = serve(tls).await;
    let client = |uris: &[&str]| {
        let identity = ours.certify(uris, |_| {});
        Tls::mutual(ours.pem().as_bytes(), identity.chain.as_bytes(), identity.key.as_bytes()).unwrap()
    };
    call(address, client(&[])).await.unwrap();
    call(address, client(&[VISITOR])).await.unwrap();
    assert!(call(address, client(&[VISITOR, GREETER])).await.is_err());
}

#[tokio::test]
async fn a_clients_certificate_is_renewed_for_the_connections_to_come() {
    let ours = Authority::new();
    let greeter = ours.certify(&[GREETER], |_| {});
    let tls =
        ServerTls::mutual(ours.pem().as_bytes(), greeter.chain.as_bytes(), greeter.key.as_bytes()).unwrap();
    let address = serve(tls.spiffe([id(VISITOR)]).unwrap()).await;
    let expired = ours.certify(&[VISITOR], |params| params.not_after = date_time_ymd(2001, 1, 1));
    let client =
        Tls::mutual(ours.pem().as_bytes(), expired.chain.as_bytes(), expired.key.as_bytes()).unwrap();
    let client = client.spiffe([id(GREETER)]);
    assert!(call(address, client.clone()).await.is_err(), "what has expired was let in");
    let next = ours.certify(&[VISITOR], |_| {});
    assert!(client.renew(next.chain.as_bytes(), expired.key.as_bytes()).is_err(), "they do not fit");
    client.renew(next.chain.as_bytes(), next.key.as_bytes()).unwrap();
    call(address, client.clone()).await.unwrap();
    // And the other way about: nothing of the last connection opens the next.
    client.renew(expired.chain.as_bytes(), expired.key.as_bytes()).unwrap();
    assert!(call(address, client).await.is_err(), "what has expired was let in");
    let anonymous = Tls::trusting(ours.pem().as_bytes()).unwrap();
    assert!(anonymous.renew(next.chain.as_bytes(), next.key.as_bytes()).is_err());
}
