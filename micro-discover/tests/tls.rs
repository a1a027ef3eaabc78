//! Registries over TLS, on real servers: who is trusted, who is not, and what an error says of it.
#![cfg(all(feature = "consul", feature = "etcd", feature = "nats"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use micro_discover::{Endpoint, Error, Service, open};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

mod servers;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate for `host` and its key to files.
    fn issue(&self, directory: &Path, name: &str, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        let write = |kind: &str, pem: &str| written(&directory.join(format!("{name}.{kind}.pem")), pem);
        (write("cert", &certificate), write("key", &key.serialize_pem()))
    }
}

fn written(path: &Path, pem: &str) -> String {
    std::fs::write(path, pem).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A server that shows a certificate and asks for its client's, and the URL it is at.
struct Place {
    url: String,
    _server: Box<dyn std::any::Any>,
}

/// The certificates of a server, and of the authority whose clients it takes.
struct Shown {
    authority: String,
    certificate: String,
    key: String,
}

fn etcd(shown: &Shown) -> Option<Place> {
    let arguments = ["--cert-file", &shown.certificate, "--key-file", &shown.key];
    let clients = ["--client-cert-auth", "--trusted-ca-file", &shown.authority];
    let server = servers::etcd::Etcd::over_tls(&[&arguments[..], &clients].concat())?;
    Some(Place { url: format!("etcds://127.0.0.1:{}?", server.ports[0]), _server: Box::new(server) })
}

fn consul(shown: &Shown) -> Option<Place> {
    let server = servers::consul::Consul::with(&json!({
        "cert_file": shown.certificate, "key_file": shown.key, "ca_file": shown.authority,
        "verify_incoming_https": true,
    }))?;
    server.wait_for_leader();
    Some(Place { url: format!("consuls://127.0.0.1:{}?", server.https), _server: Box::new(server) })
}

fn nats(shown: &Shown) -> Option<Place> {
    let arguments = ["--tlscert", &shown.certificate, "--tlskey", &shown.key];
    let clients = ["--tlsverify", "--tlscacert", &shown.authority];
    let server = servers::nats::Nats::with(&[&arguments[..], &clients].concat())?;
    Some(Place { url: format!("nats://127.0.0.1:{}?tls&", server.port), _server: Box::new(server) })
}

/// The error and all its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_by_its_authority_and_name_and_takes_who_shows_a_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let right = written(&directory.path().join("ours.pem"), &ours.0.pem());
    let wrong = written(&directory.path().join("another.pem"), &other.0.pem());
    let (certificate, key) = ours.issue(directory.path(), "client", "client");
    let identity = format!("cert={certificate}&key={key}");
    for start in [etcd, consul, nats] {
        let (certificate, key) = ours.issue(directory.path(), "server", "127.0.0.1");
        let Some(place) = start(&Shown { authority: right.clone(), certificate, key }) else { return };
        let url = &place.url;
        let record = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:80".parse().unwrap()));
        let registry = open(&format!("{url}ca={right}&{identity}")).unwrap();
        registry.announce(&record, Duration::from_secs(60)).await.unwrap();
        assert_eq!(registry.get("greeter").await.unwrap(), std::slice::from_ref(&record), "{url}");

        let deceived = open(&format!("{url}ca={wrong}&{identity}")).unwrap();
        let error = deceived.get("greeter").await.unwrap_err();
        println!("{}", chain(&error));
        assert!(error.is_retryable() && chain(&error).contains("invalid peer certificate"), "{error:?}");
        let nobody = open(&format!("{url}ca={right}")).unwrap();
        let error = nobody.get("greeter").await.unwrap_err();
        println!("{}", chain(&error));
        assert!(error.is_retryable(), "{error:?}");
        // Without TLS nothing is said that the server would take.
        let plain = url.replace("etcds:", "etcd:").replace("consuls:", "consul:").replace("tls&", "");
        assert!(open(plain.trim_end_matches('?')).unwrap().get("greeter").await.is_err(), "{plain}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_replaced_in_their_files_are_those_of_the_next_connection() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let right = written(&directory.path().join("ours.pem"), &ours.0.pem());
    let trusted = directory.path().join("trusted.pem");
    for start in [etcd, consul, nats] {
        let (certificate, key) = ours.issue(directory.path(), "server", "127.0.0.1");
        let Some(place) = start(&Shown { authority: right.clone(), certificate, key }) else { return };
        written(&trusted, &other.0.pem());
        let (certificate, key) = other.issue(directory.path(), "client", "client");
        let files = format!("ca={}&cert={certificate}&key={key}", trusted.display());
        let registry = open(&format!("{}{files}", place.url)).unwrap();
        let error = registry.get("greeter").await.unwrap_err();
        assert!(chain(&error).contains("invalid peer certificate"), "{error:?}");
        written(&trusted, &ours.0.pem());
        registry.get("greeter").await.unwrap_err();
        ours.issue(directory.path(), "client", "client");
        assert_eq!(registry.get("greeter").await.unwrap(), [], "{}", place.url);
        // What cannot be read while it is being replaced is what it was.
        std::fs::remove_file(&trusted).unwrap();
        assert_eq!(registry.get("greeter").await.unwrap(), [], "{}", place.url);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_host_is_refused_by_that_name() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let right = written(&directory.path().join("ours.pem"), &ours.0.pem());
    let (certificate, key) = ours.issue(directory.path(), "client", "client");
    let identity = format!("cert={certificate}&key={key}");
    for start in [etcd, consul, nats] {
        let (certificate, key) = ours.issue(directory.path(), "server", "somewhere.else");
        let Some(place) = start(&Shown { authority: right.clone(), certificate, key }) else { return };
        let registry = open(&format!("{}ca={right}&{identity}", place.url)).unwrap();
        let error = registry.get("greeter").await.unwrap_err();
        println!("{}", chain(&error));
        assert!(chain(&error).contains("not valid for name"), "{error:?}");
    }
}
