//! Until when certificates are good: those in files that settings name, and those that servers show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::BoxError;

use super::hosts::{self, Host};
use super::validity;
use super::within::within;
use crate::causes::chain;
use crate::command::reply::Finding;

/// Those in the files that settings name.
pub(super) async fn files(files: &[(&'static str, PathBuf)]) -> Vec<Finding> {
    let each = files.iter().map(|(setting, path)| {
        let about = format!("{setting} {}", path.display());
        match read(path) {
            // Of several authorities some may be old.
            Ok(chain) if *setting == "ca" => judged(about, &chain, Iterator::max),
            Ok(chain) => judged(about, &chain, Iterator::min),
            Err(error) => {
                Finding::failed("tls", about, error.to_string(), format!("--{setting} FILE, in PEM"))
            }
        }
    });
    each.collect()
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let text = std::fs::read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() { Err("it has no certificate".into()) } else { Ok(chain) }
}

/// Those of the servers that `url` names, if it is one of TLS.
pub(super) async fn of_servers(url: &str, limit: Duration) -> Vec<Finding> {
    let secure =
        url.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "etcds" | "consuls" | "https"));
    let hosts = if secure { hosts::of(url) } else { Vec::new() };
    let look = |host: Host| async move { of_server(&format!("{}:{}", host.0, host.1), &host, limit).await };
    stream::iter(hosts).map(look).buffered(4).collect().await
}

/// That of the server at `host`, whoever vouches for it: whether it is to be trusted is for calls to find out.
pub(super) async fn of_server(about: &str, host: &Host, limit: Duration) -> Finding {
    let hint = "TLS where it listens, or an address that says http:";
    let look = async {
        match shown(host).await {
            Ok(chain) => judged(about.to_owned(), &chain, Iterator::min),
            Err(error) => Finding::failed("tls", about, chain(&*error), hint),
        }
    };
    let late = Finding::failed("tls", about, format!("no certificate within {limit:?}"), hint);
    within(limit, look, late).await
}

/// How good certificates are of which the one that ends first or last decides.
fn judged(
    about: String,
    chain: &[CertificateDer<'_>],
    which: fn(std::vec::IntoIter<SystemTime>) -> Option<SystemTime>,
) -> Finding {
    match chain.iter().map(|one| validity::end(one)).collect::<Option<Vec<_>>>() {
        Some(ends) => validity::judged(about, which(ends.into_iter()), SystemTime::now()),
        None => Finding::failed("tls", about, "a certificate that cannot be read", "another certificate"),
    }
}

/// What the server at `host` shows.
async fn shown((host, port): &Host) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let provider = Arc::new(ring::default_provider());
    let anybody = Anybody(provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(anybody)).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect((host.as_str(), *port)).await?;
    let name = ServerName::try_from(host.clone())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(chain.iter().map(|one| one.clone().into_owned()).collect())
}

/// Trusts anybody: nothing is said to them but that their certificate is wanted.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
