//! Encrypts what is said to an agent, and sees that it is one.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::invalid::Invalid;

/// Whom to trust, and who we are; both in PEM.
#[derive(Default)]
pub(super) struct Tls {
    /// None: those that the system trusts.
    pub(super) authority: Option<Vec<u8>>,
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    pub(super) fn connector(&self) -> Result<TlsConnector, Invalid> {
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
