//! The certificate a server shows, and whom it asks for one.

use std::{fmt, sync::Arc};

use rustls::{ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use crate::transport::{InvalidTls, pem};

/// TLS settings of a [`Server`](super::Server).
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Shows clients the certificate in `chain_pem`, whose key is in `key_pem`.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where one of them cannot be read, or they do not belong together.
    pub fn new(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, InvalidTls> {
        Self::with(None, chain_pem, key_pem)
    }

    /// The same, and serves only clients that show a certificate of an authority in `roots_pem`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn mutual(roots_pem: &[u8], chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, InvalidTls> {
        Self::with(Some(roots_pem), chain_pem, key_pem)
    }

    fn with(roots: Option<&[u8]>, chain: &[u8], key: &[u8]) -> Result<Self, InvalidTls> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| InvalidTls::new("no protocol version is left", e))?;
        let builder = match roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let roots = Arc::new(pem::roots(roots)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let unusable = |e| InvalidTls::new("the client authorities cannot be used", e);
                builder.with_client_cert_verifier(verifier.map_err(unusable)?)
            }
        };
        let mut config = builder
            .with_single_cert(pem::certificates(chain)?, pem::key(key)?)
            .map_err(|e| InvalidTls::new("the key does not fit the certificate", e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.clone().into()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}
