//! What is changed while a gateway serves: its certificate, and what its file says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::BodyExt;
use micro_discover::{Endpoint, Service as Record};
use micro_tower::transport::{Connection, Connector, HttpVersion, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tower::{BoxError, Service as _, ServiceExt as _};

use crate::program::{Place, Running};
use crate::service::Services;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Has the gateway's files hold a certificate of `authority`, one after the other, as they are.
fn show(place: &Place, authority: &Authority) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(place.path("cert"), certificate.pem()).unwrap();
    std::fs::write(place.path("key"), key.serialize_pem()).unwrap();
}

/// What the gateway's file says: where `/here` leads, and how long `/slow` may take.
fn say(place: &Place, service: &str, timeout: &str) {
    let here = format!("[[api.route]]\npath = '/here'\nservice = '{service}'\n");
    let slow = format!("[[api.route]]\npath = '/slow'\ntimeout = '{timeout}'\n");
    std::fs::write(place.path("gateway.toml"), here + &slow).unwrap();
}

fn gateway(place: &Place) -> (Running, Endpoint) {
    let [cert, key, config] =
        ["cert", "key", "gateway.toml"].map(|name| place.path(name).display().to_string());
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key];
    let mut running =
        place.start(&[&["api", "--address", "127.0.0.1:0", "--config", &config][..], &tls].concat());
    let line = running.line();
    let address = line.strip_prefix("api listens on ").unwrap_or_else(|| panic!("{line}"));
    (running, Endpoint::new("gateway", address.parse().unwrap()))
}

/// Connections to a gateway by those who trust `authorities`, which send nothing twice.
#[derive(Clone)]
struct Client {
    roots: String,
    version: HttpVersion,
    gateway: Endpoint,
}

impl Client {
    fn new(gateway: &Endpoint, authorities: &[&Authority], version: HttpVersion) -> Self {
        let roots = authorities.iter().map(|authority| authority.pem()).collect();
        Self { roots, version, gateway: gateway.clone() }
    }

    /// A connection that resumes no session: it looks at the certificate.
    fn connect(&self) -> Connection {
        let tls = Tls::trusting(self.roots.as_bytes()).unwrap();
        Connector::new().tls(tls).http_version(self.version).connect(&self.gateway)
    }

    /// The status and the text of one answer, over a connection of its own.
    async fn get(&self, path: &str) -> Result<(u16, String), BoxError> {
        get(&mut self.connect(), path).await
    }
}

async fn get(connection: &mut Connection, path: &str) -> Result<(u16, String), BoxError> {
    let request = Request::get(path).body(Body::empty())?;
    let response = connection.ready().await?.call(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Asks again and again, over one connection or over a new one each time, until there has been enough.
async fn load(
    client: Client,
    kept: bool,
    enough: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Vec<String> {
    let (mut connection, mut failed) = (client.connect(), Vec::new());
    while !enough.load(Relaxed) {
        match get(&mut connection, "/here/x").await {
            Ok((200, text)) if text.starts_with("one: ") || text.starts_with("two: ") => {}
            other => failed.push(format!("{other:?}")),
        }
        answered.fetch_add(1, Relaxed);
        if !kept {
            connection = client.connect();
        }
    }
    failed
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn certificates_routes_and_deadlines_change_under_load_and_no_request_is_lost() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("one");
    services.mirror("two");
    services.serve(Record::new("slow"), |_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Response::new(Body::empty())
    });
    let authorities = [authority(), authority()];
    show(&place, &authorities[0]);
    say(&place, "one", "10s");
    let (_running, gateway) = gateway(&place);
    let client = |authorities: &[&Authority], version| Client::new(&gateway, authorities, version);
    let all = authorities.each_ref();
    services.runtime.block_on(async {
        let ask =
            async |trusted: &Authority, path: &str| client(&[trusted], HttpVersion::Http1).get(path).await;
        until("the gateway does not serve", async || matches!(ask(all[0], "/here/x").await, Ok((200, _))))
            .await;
        let (enough, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let load = |(version, kept)| -> JoinHandle<Vec<String>> {
            tokio::spawn(load(client(&all, version), kept, enough.clone(), answered.clone()))
        };
        let ways =
            [HttpVersion::Http1, HttpVersion::Http2].map(|version| [(version, true), (version, false)]);
        let clients: Vec<_> = ways.concat().into_iter().map(load).collect();
        for (round, service, timeout, status) in [
            (1, "two", "100ms", 504),
            (2, "one", "10s", 200),
            (3, "two", "100ms", 504),
            (4, "one", "10s", 200),
        ] {
            let (new, old) = (all[round % 2], all[(round + 1) % 2]);
            show(&place, new);
            say(&place, service, timeout);
            until("the certificate is not another", async || ask(new, "/here/x").await.is_ok()).await;
            assert!(ask(old, "/here/x").await.is_err(), "the one before is not shown any more");
            let leads = async || ask(new, "/here/x").await.is_ok_and(|(_, text)| text.starts_with(service));
            until("the route does not lead elsewhere", leads).await;
            assert_eq!(ask(new, "/slow/x").await.unwrap().0, status, "{timeout}");
            let before = answered.load(Relaxed);
            until("nobody is served", async || answered.load(Relaxed) > before + 40).await;
        }
        enough.store(true, Relaxed);
        let mut failed = Vec::new();
        for client in clients {
            failed.extend(client.await.unwrap());
        }
        assert!(failed.is_empty(), "{} of {answered:?}: {:?}", failed.len(), failed.first());
    });
}
