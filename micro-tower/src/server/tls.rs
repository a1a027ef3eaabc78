//! The certificate a server shows, how it is renewed, and whom it asks for one.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::clients::Clients;
use crate::transport::{Allowed, InvalidTls, SpiffeId, pem, shown::Shown};

/// How often files are looked at for another certificate.
const LOOK: Duration = Duration::from_secs(1);

/// TLS settings of a [`Server`](super::Server): TLS 1.2 and 1.3. Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    files: Option<Arc<(PathBuf, PathBuf)>>,
}

impl ServerTls {
    /// Shows clients the certificate in `chain_pem`, whose key is in `key_pem`.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where one of them cannot be read, or they do not belong together.
    pub fn new(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, InvalidTls> {
        Self::with(None, Arc::new(Shown::new(chain_pem, key_pem)?))
    }

    /// The same, and serves only clients that show a certificate of an authority in `roots_pem`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn mutual(roots_pem: &[u8], chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, InvalidTls> {
        Self::new(chain_pem, key_pem)?.clients_of(roots_pem)
    }

    /// Shows the certificate in two files. While it serves, the server looks at them every second, and shows what
    /// they hold from then on: nothing that is open is touched. Files that do not fit each other change nothing.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, InvalidTls> {
        let files = (chain.as_ref().to_owned(), key.as_ref().to_owned());
        let (chain, key) = read(&files)?;
        Ok(Self { files: Some(Arc::new(files)), ..Self::new(&chain, &key)? })
    }

    /// Serves only clients that show a certificate of an authority in `roots_pem`.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where there is none.
    pub fn clients_of(self, roots_pem: &[u8]) -> Result<Self, InvalidTls> {
        let roots = Arc::new(pem::roots(roots_pem)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        let verifier = verifier.map_err(|e| InvalidTls::new("the client authorities cannot be used", e))?;
        Ok(Self { files: self.files, ..Self::with(Some(verifier), self.shown)? })
    }

    /// Of those clients, serves only the ones whose certificate has exactly one of these SPIFFE ids, and no other
    /// URI.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where clients are not asked for certificates.
    pub fn spiffe(self, ids: impl IntoIterator<Item = SpiffeId>) -> Result<Self, InvalidTls> {
        let Some(inner) = self.clients else {
            return Err(InvalidTls::without("clients with an id need an authority: see clients_of", None));
        };
        let clients = Arc::new(Clients { inner, allowed: Allowed::new(ids) });
        Ok(Self { files: self.files, ..Self::with(Some(clients), self.shown)? })
    }

    /// Shows another certificate from the next connection on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); then the one before stays.
    pub fn renew(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), InvalidTls> {
        self.shown.renew(chain_pem, key_pem)
    }

    fn with(clients: Option<Arc<dyn ClientCertVerifier>>, shown: Arc<Shown>) -> Result<Self, InvalidTls> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| InvalidTls::new("no protocol version is left", e))?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let mut config = builder.with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), shown, clients, files: None })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.clone().into()
    }

    /// Follows the files, for ever; ends at once where there are none.
    pub(super) async fn follow(self) {
        let Some(files) = self.files.clone() else { return };
        // What is shown, and what could not be: that is said once.
        let (mut before, mut refused) = (read(&files).ok(), None);
        loop {
            sleep(LOOK).await;
            let look = files.clone();
            // It may be a disk that takes its time.
            let Ok(now) = tokio::task::spawn_blocking(move || read(&look)).await else { return };
            let Ok(now) = now else { continue };
            if before.as_ref() == Some(&now) || refused.as_ref() == Some(&now) {
                continue;
            }
            // Half of it may have been written: the next look tells.
            if let Err(error) = self.renew(&now.0, &now.1) {
                tracing::warn!(%error, file = %files.0.display(), "the certificate stays as it was");
                refused = Some(now);
                continue;
            }
            tracing::info!(file = %files.0.display(), "another certificate is shown from now on");
            (before, refused) = (Some(now), None);
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read((chain, key): &(PathBuf, PathBuf)) -> Result<(Vec<u8>, Vec<u8>), InvalidTls> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| InvalidTls::new("a file cannot be read", e));
    Ok((read(chain)?, read(key)?))
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("clients", &self.clients.is_some()).finish_non_exhaustive()
    }
}
