//! Peers known by the SPIFFE id in their certificate: who a workload is, wherever it runs.
//!
//! As the X.509-SVID standard says: <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>.

use std::{fmt, str::FromStr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

const SCHEME: &str = "spiffe://";
/// The longest id that the standard allows, in bytes.
const LONGEST: usize = 2048;

/// An id such as `spiffe://example.org/greeter`. One without a path, `spiffe://example.org`, stands for all of its
/// trust domain where peers are let in.
///
/// ```
/// use micro_tower::transport::SpiffeId;
///
/// assert!("spiffe://example.org/greeter".parse::<SpiffeId>().is_ok());
/// assert!("https://example.org/greeter".parse::<SpiffeId>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId(String);

/// A text that is no SPIFFE id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no SPIFFE id such as spiffe://example.org/greeter")]
pub struct InvalidSpiffeId {
    text: String,
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        let invalid = || InvalidSpiffeId { text: text.chars().take(100).collect() };
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= LONGEST).ok_or_else(invalid)?;
        let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
        let in_domain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
        let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let segment = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(in_path);
        let whole = !domain.is_empty()
            && domain.chars().all(in_domain)
            && path.is_none_or(|path| path.split('/').all(segment));
        whole.then(|| Self(text.to_owned())).ok_or_else(invalid)
    }
}

impl SpiffeId {
    /// Whether this stands for `other`: it is the same, or all of the same trust domain.
    fn covers(&self, other: &Self) -> bool {
        let is_domain = !self.0[SCHEME.len()..].contains('/');
        let below = other.0.strip_prefix(&self.0);
        below.is_some_and(|below| below.is_empty() || (is_domain && below.starts_with('/')))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose certificates are taken.
#[derive(Clone, Debug)]
pub(crate) struct Allowed(Arc<[SpiffeId]>);

impl Allowed {
    pub(crate) fn new(ids: impl IntoIterator<Item = SpiffeId>) -> Self {
        Self(ids.into_iter().collect())
    }

    /// Whether `certificate`, whose signatures have been verified, is of one of them.
    pub(crate) fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let refused = |_| Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let id = id_of(certificate).map_err(|why| {
            tracing::debug!(why, "a peer shows no SPIFFE id");
            refused(())
        })?;
        if self.0.iter().any(|allowed| allowed.covers(&id)) {
            return Ok(());
        }
        tracing::debug!(%id, "a peer is not among those let in");
        Err(refused(()))
    }
}

/// The id in a certificate: it must have one URI among its names, and no more.
fn id_of(certificate: &CertificateDer<'_>) -> Result<SpiffeId, &'static str> {
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|_| "it cannot be read")?;
    let mut names = certificate.valid_uri_names();
    let (Some(name), None) = (names.next(), names.next()) else { return Err("it has not exactly one URI") };
    let id: SpiffeId = name.parse().map_err(|_| "its URI is no SPIFFE id")?;
    let is_workload = id.0[SCHEME.len()..].contains('/');
    is_workload.then_some(id).ok_or("its id is that of a trust domain, not of a workload")
}

/// Verifies servers by their ids: signatures and validity as always, but no host name. Where none are given, lets in
/// whoever has the key of the certificate that it shows.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) allowed: Option<Allowed>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(allowed) = &self.allowed else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        allowed.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn id(text: &str) -> SpiffeId {
        text.parse().unwrap()
    }

    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_domain_stands_for_its_workloads_and_a_workload_for_itself() {
        let greeter = id("spiffe://example.org/greeter");
        assert!(greeter.covers(&greeter) && id("spiffe://example.org").covers(&greeter));
        for other in [
            "spiffe://example.or",
            "spiffe://example.org/greet",
            "spiffe://other.org",
            "spiffe://example.org/a",
        ] {
            assert!(!id(other).covers(&greeter), "{other}");
        }
        assert!(!greeter.covers(&id("spiffe://example.org/greeter/admin")));
    }

    #[test]
    fn what_the_standard_forbids_is_no_id() {
        for text in [
            "",
            "spiffe://",
            "spiffe:///a",
            "spiffe://Example.org/a",
            "spiffe://example.org/",
            "spiffe://e.org/a/",
            "spiffe://e.org/a//b",
            "spiffe://e.org/../a",
            "spiffe://e.org:80/a",
            "spiffe://u@e.org/a",
            "spiffe://e.org/a?b",
            "spiffe://e.org/a#b",
            "spiffe://e.org/%61",
            "SPIFFE://e.org/a",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
        assert!(format!("spiffe://e.org/{}", "a".repeat(LONGEST)).parse::<SpiffeId>().is_err());
    }

    #[test]
    fn a_certificate_has_one_id_or_none() {
        let allowed = Allowed::new([id("spiffe://example.org")]);
        assert!(allowed.check(&certificate(&["spiffe://example.org/a"])).is_ok());
        for uris in [
            &[][..],
            &["spiffe://example.org/a", "spiffe://example.org/b"],
            &["spiffe://example.org/a", "https://example.org/"],
            &["spiffe://other.org/a"],
            &["spiffe://example.org"],
            &["https://example.org/a"],
        ] {
            assert!(allowed.check(&certificate(uris)).is_err(), "{uris:?}");
        }
    }
}
