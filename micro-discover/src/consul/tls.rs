//! Encrypts what is said to an agent, and sees that it is one.

use std::sync::{Arc, Mutex};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::invalid::Invalid;
use crate::pem::Pem;

/// Whom to trust, and who we are.
#[derive(Default)]
pub(super) struct Tls {
    /// None: those that the system trusts.
    pub(super) authority: Option<Pem>,
    pub(super) identity: Option<(Pem, Pem)>,
}

/// Makes connections as certificates are now, or were when they were last good.
pub(super) struct Connector {
    tls: Tls,
    made: Mutex<(Texts, TlsConnector)>,
}

/// What certificates and keys say.
#[derive(PartialEq)]
struct Texts {
    authority: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Connector {
    pub(super) fn new(tls: Tls) -> Result<Self, Invalid> {
        let texts = tls.now();
        let connector = texts.connector()?;
        Ok(Self { tls, made: Mutex::new((texts, connector)) })
    }

    pub(super) fn now(&self) -> TlsConnector {
        let texts = self.tls.now();
        let mut made = self.made.lock().expect("nothing under this lock can panic");
        if made.0 != texts
            && let Ok(connector) = texts.connector()
        {
            *made = (texts, connector);
        }
        made.1.clone()
    }
}

impl Tls {
    fn now(&self) -> Texts {
        let identity = self.identity.as_ref().map(|(chain, key)| (chain.now(), key.now()));
        Texts { authority: self.authority.as_ref().map(Pem::now), identity }
    }
}

impl Texts {
    fn connector(&self) -> Result<TlsConnector, Invalid> {
        let trusted = match &self.authority {
            Some(pem) => certificates(pem, "the certificate authority")?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Invalid::new(error.to_string()))?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "the certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| Invalid::new("the key: it is no key in PEM"))?;
                config.with_client_auth_cert(chain, key).map_err(|error| Invalid::new(error.to_string()))?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| Invalid::new(format!("{what}: there is no certificate in PEM")))
}
