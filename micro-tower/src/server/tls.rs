//! The certificate a server shows, how it is renewed, and whom it asks for one.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::clients::Clients;
use crate::transport::{Allowed, Followed, InvalidTls, LOOK, SpiffeId, pem, shown::Shown};

/// TLS settings of a [`Server`](super::Server): TLS 1.2 and 1.3. Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ArcSwap<ServerConfig>>,
    shown: Arc<Shown>,
    /// Whose certificates clients are asked for, if they are.
    authorities: Option<Arc<RootCertStore>>,
    allowed: Option<Allowed>,
    files: Files,
}

/// Where what may change is from.
#[derive(Clone, Default)]
struct Files {
    shown: Option<Arc<Followed>>,
    authorities: Option<Arc<Followed>>,
}

impl ServerTls {
    /// Shows clients the certificate in `chain_pem`, whose key is in `key_pem`.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where one of them cannot be read, or they do not belong together.
    pub fn new(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, InvalidTls> {
        let shown = Arc::new(Shown::new(chain_pem, key_pem)?);
        let config = Arc::new(ArcSwap::from_pointee(configure(shown.clone(), None, None)?));
        Ok(Self { config, shown, authorities: None, allowed: None, files: Files::default() })
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
        let paths = vec![chain.as_ref().to_owned(), key.as_ref().to_owned()];
        let (files, texts) = Followed::new(paths)?;
        let mut tls = Self::new(&texts[0], &texts[1])?;
        tls.files.shown = Some(Arc::new(files));
        Ok(tls)
    }

    /// Serves only clients that show a certificate of an authority in `roots_pem`. One that has a SPIFFE id has exactly one
    /// URI, as the standard wants it. Who comes again shows it again: no session is resumed.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where there is none.
    pub fn clients_of(mut self, roots_pem: &[u8]) -> Result<Self, InvalidTls> {
        (self.authorities, self.files.authorities) = (Some(Arc::new(pem::roots(roots_pem)?)), None);
        self.configured()
    }

    /// The same with the authorities in a file, which is looked at every second while the server serves: what it holds then
    /// holds for the connections to come.
    ///
    /// # Errors
    ///
    /// As [`clients_of`](Self::clients_of), and where the file cannot be read.
    pub fn clients_of_file(self, roots: impl AsRef<Path>) -> Result<Self, InvalidTls> {
        let paths: Vec<PathBuf> = vec![roots.as_ref().to_owned()];
        let (file, texts) = Followed::new(paths)?;
        let mut tls = self.clients_of(&texts[0])?;
        tls.files.authorities = Some(Arc::new(file));
        Ok(tls)
    }

    /// Of those clients, serves only the ones whose certificate has exactly one of these SPIFFE ids, and no other
    /// URI.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where clients are not asked for certificates.
    pub fn spiffe(mut self, ids: impl IntoIterator<Item = SpiffeId>) -> Result<Self, InvalidTls> {
        if self.authorities.is_none() {
            return Err(InvalidTls::without("clients with an id need an authority: see clients_of", None));
        }
        self.allowed = Some(Allowed::new(ids));
        self.configured()
    }

    /// Shows another certificate from the next connection on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); then the one before stays.
    pub fn renew(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), InvalidTls> {
        self.shown.renew(chain_pem, key_pem)
    }

    /// With a configuration of its own.
    fn configured(self) -> Result<Self, InvalidTls> {
        let config = configure(self.shown.clone(), self.authorities.clone(), self.allowed.clone())?;
        Ok(Self { config: Arc::new(ArcSwap::from_pointee(config)), ..self })
    }

    /// What the next connection is accepted by.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.load_full().into()
    }

    /// Follows the files, for ever; ends at once where there are none.
    pub(super) async fn follow(self) {
        let Files { shown, authorities } = &self.files;
        if shown.is_none() && authorities.is_none() {
            return;
        }
        loop {
            sleep(LOOK).await;
            if let Some(files) = shown
                && let Some(texts) = files.changed().await
            {
                said(files, self.renew(&texts[0], &texts[1]));
            }
            if let Some(file) = authorities
                && let Some(texts) = file.changed().await
            {
                said(file, self.trust(&texts[0]));
            }
        }
    }

    /// Asks the clients to come for certificates of other authorities.
    fn trust(&self, roots_pem: &[u8]) -> Result<(), InvalidTls> {
        let roots = Arc::new(pem::roots(roots_pem)?);
        let config = configure(self.shown.clone(), Some(roots), self.allowed.clone())?;
        self.config.store(Arc::new(config));
        Ok(())
    }
}

fn said(files: &Followed, taken: Result<(), InvalidTls>) {
    match taken {
        Ok(()) => tracing::info!(file = %files.name(), "another certificate holds from now on"),
        Err(error) => tracing::warn!(%error, file = %files.name(), "the certificate stays as it was"),
    }
}

fn configure(
    shown: Arc<Shown>,
    authorities: Option<Arc<RootCertStore>>,
    allowed: Option<Allowed>,
) -> Result<ServerConfig, InvalidTls> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| InvalidTls::new("no protocol version is left", e))?;
    let mut config = match authorities {
        None => builder.with_no_client_auth().with_cert_resolver(shown),
        Some(roots) => {
            let inner = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let inner = inner.map_err(|e| InvalidTls::new("the client authorities cannot be used", e))?;
            let clients = Arc::new(Clients { inner, allowed });
            let mut config = builder.with_client_cert_verifier(clients).with_cert_resolver(shown);
            // Who resumes a session shows no certificate: it would outlive what it was begun with.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("clients", &self.authorities.is_some()).finish_non_exhaustive()
    }
}
