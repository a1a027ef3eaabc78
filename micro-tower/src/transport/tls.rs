//! Whom a TLS connection trusts, and as whom it presents itself.

use std::{fmt, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::BoxError;

use super::{
    followed::Followed,
    foreign::blame_tls,
    pem::{InvalidTls, roots},
    shown::Shown,
    spiffe::{Allowed, Servers, SpiffeId, Whom},
};

/// TLS settings of a [`Connector`](super::Connector). The peer's certificate is verified, unless
/// [`unverified`](Self::unverified) says that it is not. Clones share the certificate that is shown.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    shown: Option<Arc<Shown>>,
    roots: Arc<ArcSwap<RootCertStore>>,
    server_name: Option<ServerName<'static>>,
    files: Option<Arc<Followed>>,
}

impl Tls {
    /// Trusts the certificate authorities of this machine.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where it has none.
    pub fn system() -> Result<Self, InvalidTls> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let source = found.errors.into_iter().next().map(Into::into);
            return Err(InvalidTls::without("this machine has no certificate authorities", source));
        }
        Self::with(roots, None)
    }

    /// Trusts the certificate authorities in `pem`, and nobody else.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where `pem` holds no certificate.
    pub fn trusting(pem: &[u8]) -> Result<Self, InvalidTls> {
        Self::with(roots(pem)?, None)
    }

    /// Trusts the authorities in `roots_pem`, and shows the peer the certificate in `chain_pem`, whose key is
    /// in `key_pem`.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where one of them cannot be read, or key and certificate do not belong together.
    pub fn mutual(roots_pem: &[u8], chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, InvalidTls> {
        Self::with(roots(roots_pem)?, Some(Shown::new(chain_pem, key_pem)?))
    }

    /// Trusts the authorities in the file `roots`, and shows the peer the certificate and the key in the two files of
    /// `identity`, if there are any. All are PEM. What they hold later holds for the connections to come: they are looked
    /// at once a second at most, when one is made. Files that cannot be used, or do not fit each other, change nothing.
    ///
    /// # Errors
    ///
    /// As [`mutual`](Self::mutual).
    pub fn files(roots: impl AsRef<Path>, identity: Option<(&Path, &Path)>) -> Result<Self, InvalidTls> {
        let identity = identity.into_iter().flat_map(|(chain, key)| [chain, key]);
        let paths = std::iter::once(roots.as_ref()).chain(identity).map(Path::to_owned).collect();
        let (files, texts) = Followed::new(paths)?;
        let tls = match &texts[..] {
            [roots, chain, key] => Self::mutual(roots, chain, key)?,
            texts => Self::trusting(&texts.concat())?,
        };
        let mut tls = Self { files: Some(Arc::new(files)), ..tls }.verifying(Whom::Named);
        // A session that is resumed is that of the authorities it began with.
        Arc::make_mut(&mut tls.config).resumption = Resumption::disabled();
        Ok(tls)
    }

    /// Shows another certificate from the next connection on, wherever clones of this are in use: connections that are
    /// open go on.
    ///
    /// # Errors
    ///
    /// As [`mutual`](Self::mutual), then the one before stays; and where none was shown before.
    pub fn renew(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), InvalidTls> {
        match &self.shown {
            Some(shown) => shown.renew(chain_pem, key_pem),
            None => Err(InvalidTls::without("there is no certificate to renew: see mutual", None)),
        }
    }

    /// Expects the peer's certificate to name `name` instead of the host in its address.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where `name` is neither a DNS name nor an IP address.
    pub fn server_name(mut self, name: &str) -> Result<Self, InvalidTls> {
        let name = ServerName::try_from(name.to_owned());
        self.server_name = Some(name.map_err(|e| InvalidTls::new("the server name is no DNS name", e))?);
        Ok(self)
    }

    /// Knows peers by their SPIFFE ids instead of host names: a peer's certificate must have exactly one of `ids`,
    /// and no other URI.
    pub fn spiffe(self, ids: impl IntoIterator<Item = SpiffeId>) -> Self {
        self.verifying(Whom::Allowed(Allowed::new(ids)))
    }

    /// Takes whatever certificate the peer shows, and trusts nobody: whoever stands between can read and change all that
    /// is said. For a person who looks at a server that nobody has vouched for.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where this build has no version of TLS.
    pub fn unverified() -> Result<Self, InvalidTls> {
        Ok(Self::with(RootCertStore::empty(), None)?.verifying(Whom::Anybody))
    }

    fn verifying(mut self, whom: Whom) -> Self {
        let provider = self.config.crypto_provider().clone();
        let servers = Servers { roots: self.roots.clone(), whom, provider };
        Arc::make_mut(&mut self.config).dangerous().set_certificate_verifier(Arc::new(servers));
        self
    }

    fn with(roots: RootCertStore, shown: Option<Shown>) -> Result<Self, InvalidTls> {
        let (roots, shown) = (Arc::new(roots), shown.map(Arc::new));
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|e| InvalidTls::new("no protocol version is left", e))?
            .with_root_certificates(roots.clone());
        let config = match &shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let mut config = builder.with_client_cert_resolver(shown.clone());
                // A session that is resumed is that of the certificate it began with.
                config.resumption = Resumption::disabled();
                config
            }
        };
        let roots = Arc::new(ArcSwap::new(roots));
        Ok(Self { config: Arc::new(config), shown, roots, server_name: None, files: None })
    }

    /// Goes on with what its files hold, if that is something else than before.
    async fn look(&self) {
        let Some(files) = &self.files else { return };
        let Some(texts) = files.changed().await else { return };
        let taken = match &texts[..] {
            [authorities, identity @ ..] => roots(authorities).and_then(|authorities| {
                if let [chain, key] = identity {
                    self.renew(chain, key)?;
                }
                self.roots.store(Arc::new(authorities));
                Ok(())
            }),
            [] => Ok(()),
        };
        match taken {
            Ok(()) => tracing::info!(file = %files.name(), "servers are trusted by other files from now on"),
            Err(error) => tracing::warn!(%error, file = %files.name(), "servers are trusted as before"),
        }
    }

    /// The same settings, offering these protocols to the peer.
    pub(super) fn offering(mut self, protocols: &[&[u8]]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        self
    }

    pub(super) async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, BoxError> {
        self.look().await;
        let name = match &self.server_name {
            // Where ids are looked at, the name only tells the server which certificate to show.
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())?,
        };
        TlsConnector::from(self.config.clone()).connect(name, stream).await.map_err(blame_tls)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_certificates_is_refused_at_once() {
        assert!(Tls::trusting(b"").is_err());
        assert!(Tls::trusting(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
        assert!(Tls::mutual(b"", b"", b"").unwrap_err().to_string().contains("no certificate"));
    }
}
