//! Calls over TLS, of the gateway: whom each side trusts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use micro_tower::Server;
use micro_tower::server::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use crate::echo::Echo;
use crate::peer::PROTO;
use crate::program::{Place, Run, Running};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate for this machine, and its key: `NAME.crt` and `NAME.key`.
    fn write(&self, place: &Place, name: &str) -> [String; 2] {
        let mut params = CertificateParams::new(vec!["greeter.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        [("crt", certificate.pem()), ("key", key.serialize_pem())].map(|(kind, pem)| {
            let path: PathBuf = place.path(&format!("{name}.{kind}"));
            std::fs::write(&path, pem).unwrap();
            path.display().to_string()
        })
    }

    fn write_own(&self, place: &Place, name: &str) -> String {
        let path = place.path(&format!("{name}.pem"));
        std::fs::write(&path, self.0.pem()).unwrap();
        path.display().to_string()
    }
}

/// A gateway over TLS, and where it listens.
fn gateway(place: &Place, arguments: &[&str]) -> (Running, String) {
    let mut running = place.start(&[&["api", "--address", "127.0.0.1:0"], arguments].concat());
    let line = running.line();
    let address = line.strip_prefix("api listens on ").unwrap_or_else(|| panic!("{line}")).to_owned();
    assert!(address.starts_with("https://"), "{address}");
    (running, address)
}

fn call(place: &Place, address: &str, arguments: &[&str]) -> Run {
    let proto = place.path("echo.proto").display().to_string();
    let call = ["call", address, "Echo.Unary", "text=hi", "-o", "json", "--proto", &proto];
    place.run(&[&call, arguments].concat())
}

fn is_well(run: &Run) -> bool {
    run.code == Some(0) && run.out == "{\"text\":\"hi\"}\n"
}

#[test]
fn a_server_is_trusted_by_whom_the_flags_name_and_may_want_to_know_who_calls() {
    let echo = Echo::new();
    let place = &echo.place;
    std::fs::write(place.path("echo.proto"), PROTO).unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (ca, other) = (ours.write_own(place, "ca"), theirs.write_own(place, "other"));
    let [cert, key] = ours.write(place, "server");
    let [own_cert, own_key] = ours.write(place, "client");
    let serve = ["--tls-cert-file", &cert, "--tls-key-file", &key];

    let (_plain, address) = gateway(place, &serve);
    assert!(is_well(&call(place, &address, &["--ca", &ca])));
    assert!(is_well(&call(place, &address, &["--insecure"])));
    assert!(is_well(&call(place, &address, &["--ca", &ca, "--tls-name", "greeter.example"])));
    let mut variable = place.command(&["call", &address, "Echo.Unary", "text=hi", "-o", "json", "--proto"]);
    let output = variable.arg(place.path("echo.proto")).env("MICRO_CA", &ca).output().unwrap();
    assert_eq!(output.stdout, b"{\"text\":\"hi\"}\n");
    for wrong in [&["--ca", &other][..], &["--ca", &ca, "--tls-name", "other.example"]] {
        let run = call(place, &address, wrong);
        assert_eq!(run.code, Some(78), "{wrong:?}: {run:?}");
        assert!(run.err.to_lowercase().contains("certificate"), "{wrong:?}: {run:?}");
    }
    for (wrong, why) in [
        (&["--cert", &own_cert][..], "all three of them"),
        (&["--ca", "/no/such/file"], "a file cannot be read: /no/such/file: No such file"),
        (&["--ca", &own_key], "certificate"),
        (&["--ca", &ca, "--insecure"], "--insecure trusts everybody"),
    ] {
        let run = call(place, &address, wrong);
        assert!(run.code == Some(2) && run.err.contains(why), "{wrong:?}: {run:?}");
    }

    let (_closed, address) = gateway(place, &[&serve[..], &["--tls-client-ca-file", &ca]].concat());
    assert!(is_well(&call(place, &address, &["--ca", &ca, "--cert", &own_cert, "--key", &own_key])));
    assert_eq!(call(place, &address, &["--ca", &ca]).code, Some(78));
}

#[test]
fn a_certificate_that_is_renewed_is_shown_without_a_failed_call() {
    let echo = Echo::new();
    let place = &echo.place;
    std::fs::write(place.path("echo.proto"), PROTO).unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let (old_ca, new_ca) = (old.write_own(place, "old"), new.write_own(place, "new"));
    let [cert, key] = old.write(place, "server");
    let (_gateway, address) = gateway(place, &["--tls-cert-file", &cert, "--tls-key-file", &key]);
    assert!(is_well(&call(place, &address, &["--ca", &old_ca])));
    let [next_cert, next_key] = new.write(place, "next");
    std::fs::rename(next_key, &key).unwrap();
    std::fs::rename(next_cert, &cert).unwrap();
    let began = Instant::now();
    while !is_well(&call(place, &address, &["--ca", &new_ca])) {
        assert!(began.elapsed() < Duration::from_secs(60), "the new certificate is not shown");
        // Who trusts both sees no failure at any time.
        assert!(is_well(&call(place, &address, &["--insecure"])));
    }
}

#[test]
fn what_asks_endpoints_by_themselves_trusts_whom_the_flags_name() {
    let place = Place::new();
    let ours = Authority::new();
    let ca = ours.write_own(&place, "ca");
    let [cert, key] = ours.write(&place, "server");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tls = ServerTls::files(cert, key).unwrap();
    let bound = runtime.block_on(Server::new().address(([127, 0, 0, 1], 0).into()).tls(tls).bind()).unwrap();
    let address = format!("https://{}", bound.local_address());
    let nothing = tower::service_fn(|_: http::Request<tonic::body::Body>| async {
        let answer =
            http::Response::builder().header("grpc-status", "12").header("content-type", "application/grpc");
        Ok::<_, std::convert::Infallible>(answer.body(tonic::body::Body::empty()).unwrap())
    });
    runtime.spawn(bound.serve_until(nothing, std::future::pending()));
    place.ok(&["register", "secure", "--address", &address, "--id", "a", "--ttl", "0"]);
    for asked in [&["health", "secure"][..], &["stats", "secure"], &["top", "secure", "--count", "1"]] {
        let state = |trusted: &[&str]| {
            let run = place.run(&[asked, trusted, &["-o", "json"]].concat());
            let rows: serde_json::Value = serde_json::from_str(&run.out).unwrap();
            rows[0]["state"].clone()
        };
        assert_eq!(state(&["--ca", &ca]), "serving", "{asked:?}");
        assert_eq!(state(&["--insecure"]), "serving", "{asked:?}");
        assert_eq!(state(&[]), "unreachable", "{asked:?}");
    }
}
