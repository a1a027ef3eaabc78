//! The other ways to an endpoint: unix sockets, TLS, and a tonic channel.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use micro_balance::NotSent;
use micro_tower::transport::{ChannelEndpoint, Connector};
use peer::{call, echo, endpoint, listen, nobody, request, serve, serve_on, text};
use tower::{Service as _, ServiceExt as _};

#[tokio::test]
async fn a_unix_socket_is_an_address() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("greeter.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_on(TokioIo::new(stream), echo));
        }
    });
    let address = format!("unix:{}", path.display());
    for (connector, version) in [(Connector::new(), "HTTP/2.0"), (Connector::http1(), "HTTP/1.1")] {
        let mut connection = connector.connect(&endpoint(&address));
        let response = call(&mut connection, request("/", "hello")).await.unwrap();
        assert_eq!(response.headers()["x-version"], version);
        assert_eq!(text(response).await, "hello");
    }
}

#[tokio::test]
async fn an_address_of_an_unknown_transport_is_refused_by_name() {
    let mut connection = Connector::new().connect(&endpoint("utp://greeter"));
    let error = connection.ready().await.err().unwrap();
    let text = format!("{error}: {}", error.source().unwrap().source().unwrap());
    assert!(text.contains("there is no transport for utp:// addresses"), "{text}");
}

#[tokio::test]
async fn a_tonic_channel_can_be_the_endpoint() {
    let channel = |address| {
        let uri = format!("http://{address}");
        ChannelEndpoint::new(tonic::transport::Endpoint::from_shared(uri).unwrap().connect_lazy())
    };
    let mut live = channel(serve(echo).await);
    let response = live.ready().await.unwrap().call(request("/", "hello")).await.unwrap();
    assert_eq!(text(response).await, "hello");

    let mut dead = channel(nobody().await);
    let error = match dead.ready().await {
        Ok(dead) => dead.call(request("/", "hello")).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(NotSent::is(error.as_ref()), "{error:?}");
}

#[cfg(feature = "tls")]
mod tls {
    use std::net::SocketAddr;

    use micro_tower::transport::{HttpVersion, Tls};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{
        RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn pem(&self) -> String {
            self.0.pem()
        }

        /// Certificate and key, in PEM.
        fn issue(&self, name: &str) -> (String, String) {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
        }
    }

    /// Serves `name` by a certificate of `authority`, offering `protocols`; asks for one of `clients`.
    async fn serve_tls(
        authority: &Authority,
        name: &str,
        protocols: &[&str],
        clients: Option<&Authority>,
    ) -> SocketAddr {
        let (certificate, key) = authority.issue(name);
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve_on(TokioIo::new(stream), echo).await;
                    }
                });
            }
        });
        address
    }

    async fn version(
        connector: Connector,
        address: impl std::fmt::Display,
    ) -> Result<String, tower::BoxError> {
        let mut connection = connector.connect(&endpoint(format!("https://{address}")));
        let response = call(&mut connection, request("/", "hello")).await?;
        let version = response.headers()["x-version"].to_str()?.to_owned();
        assert_eq!(text(response).await, "hello");
        Ok(version)
    }

    #[tokio::test]
    async fn the_peer_chooses_the_protocol() {
        let authority = Authority::new();
        let tls = Tls::trusting(authority.pem().as_bytes()).unwrap();
        let connector = Connector::new().tls(tls);
        let both = serve_tls(&authority, "127.0.0.1", &["h2", "http/1.1"], None).await;
        assert_eq!(version(connector.clone(), both).await.unwrap(), "HTTP/2.0");
        let http1 = connector.clone().http_version(HttpVersion::Http1);
        assert_eq!(version(http1, both).await.unwrap(), "HTTP/1.1");
        let old = serve_tls(&authority, "127.0.0.1", &["http/1.1"], None).await;
        assert_eq!(version(connector.clone(), old).await.unwrap(), "HTTP/1.1");
        let http2 = connector.http_version(HttpVersion::Http2);
        assert!(NotSent::is(version(http2, old).await.unwrap_err().as_ref()));
    }

    #[tokio::test]
    async fn a_peer_that_cannot_prove_its_name_is_not_spoken_to() {
        let (authority, other) = (Authority::new(), Authority::new());
        let address = serve_tls(&authority, "greeter.example", &["h2"], None).await;
        let trusting = Tls::trusting(authority.pem().as_bytes()).unwrap();
        assert!(version(Connector::new().tls(trusting.clone()), address).await.is_err());
        let named = trusting.server_name("greeter.example").unwrap();
        assert_eq!(version(Connector::new().tls(named), address).await.unwrap(), "HTTP/2.0");
        let stranger = Tls::trusting(other.pem().as_bytes()).unwrap().server_name("greeter.example").unwrap();
        assert!(version(Connector::new().tls(stranger), address).await.is_err());
    }

    #[tokio::test]
    async fn a_client_shows_its_certificate_where_one_is_asked_for() {
        let (authority, clients) = (Authority::new(), Authority::new());
        let address = serve_tls(&authority, "127.0.0.1", &["h2"], Some(&clients)).await;
        let roots = authority.pem();
        let (chain, key) = clients.issue("client.example");
        let mutual = Tls::mutual(roots.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(version(Connector::new().tls(mutual), address).await.unwrap(), "HTTP/2.0");
        let anonymous = Tls::trusting(roots.as_bytes()).unwrap();
        assert!(version(Connector::new().tls(anonymous), address).await.is_err());
    }
}
