//! A certificate with its key, as the next peer is shown it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::pem::{InvalidTls, certificates, key};

/// A certificate that can be changed for another while connections are made.
#[derive(Debug)]
pub(crate) struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    /// # Errors
    ///
    /// [`InvalidTls`] where one of them cannot be read, or they do not belong together.
    pub(crate) fn new(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, InvalidTls> {
        Ok(Self(ArcSwap::from_pointee(read(chain_pem, key_pem)?)))
    }

    /// Shows another from the next connection on. Where that is refused, the one before stays.
    pub(crate) fn renew(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), InvalidTls> {
        self.0.store(Arc::new(read(chain_pem, key_pem)?));
        Ok(())
    }
}

fn read(chain_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, InvalidTls> {
    CertifiedKey::from_der(certificates(chain_pem)?, key(key_pem)?, &ring::default_provider())
        .map_err(|e| InvalidTls::new("the key does not fit the certificate", e))
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
