//! Certificates and keys in PEM.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tower::BoxError;

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the TLS settings cannot be used: {what}")]
pub struct InvalidTls {
    what: &'static str,
    #[source]
    source: Option<BoxError>,
}

impl InvalidTls {
    pub(crate) fn new(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::without(what, Some(source.into()))
    }

    pub(crate) fn without(what: &'static str, source: Option<BoxError>) -> Self {
        Self { what, source }
    }
}

pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| InvalidTls::new("a certificate cannot be read", e))?;
    if found.is_empty() {
        return Err(InvalidTls::without("there is no certificate in the PEM text", None));
    }
    Ok(found)
}

pub(crate) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidTls> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| InvalidTls::new("the private key cannot be read", e))
}

pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, InvalidTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|e| InvalidTls::new("a certificate authority cannot be read", e))?;
    }
    Ok(roots)
}
