//! Peers known by the SPIFFE id in their certificate: who a workload is, wherever it runs.
//!
//! As the X.509-SVID standard says: <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>.

use std::{fmt, str::FromStr, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
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
        let id = id_of(certificate).map_err(refused)?;
        if self.0.iter().any(|allowed| allowed.covers(&id)) {
            return Ok(());
        }
        Err(refused(format_args!("{id} is not among those let in")))
    }
}

/// Whether `certificate`, whose signatures have been verified, is one of SPIFFE as the standard has it, or none at all.
pub(crate) fn check_claim(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| refused("it cannot be read"))?;
    let mut names = parsed.valid_uri_names();
    // In schemes capitals make no difference, and in ids there are none.
    let claims = names.any(|name| name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("spiffe:")));
    if claims { id_of(certificate).map(drop).map_err(refused) } else { Ok(()) }
}

fn refused(why: impl fmt::Display) -> Error {
    tracing::debug!(%why, "a peer's certificate is refused");
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// The id in a certificate: it must have one URI among its names, and no more, and be no authority's.
fn id_of(der: &CertificateDer<'_>) -> Result<SpiffeId, &'static str> {
    let certificate = webpki::EndEntityCert::try_from(der).map_err(|_| "it cannot be read")?;
    if signs_others(der) {
        return Err("its key is for signing certificates");
    }
    let mut names = certificate.valid_uri_names();
    let (Some(name), None) = (names.next(), names.next()) else { return Err("it has not exactly one URI") };
    let id: SpiffeId = name.parse().map_err(|_| "its URI is no SPIFFE id")?;
    let is_workload = id.0[SCHEME.len()..].contains('/');
    is_workload.then_some(id).ok_or("its id is that of a trust domain, not of a workload")
}

/// Whether a certificate says that its key signs certificates, or lists of those that have been revoked: one of a workload
/// may not (section 4.3 of the standard). Whatever looks like that extension is taken for it.
fn signs_others(der: &[u8]) -> bool {
    const KEY_USAGE: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x0f];
    const CRITICAL: [u8; 3] = [0x01, 0x01, 0xff];
    const SIGNS: u8 = 0x06;
    der.windows(KEY_USAGE.len()).enumerate().filter(|(_, bytes)| *bytes == KEY_USAGE).any(|(at, _)| {
        let rest = &der[at + KEY_USAGE.len()..];
        let rest = rest.strip_prefix(&CRITICAL).unwrap_or(rest);
        // An octet string of a bit string of how many bits are left over, and the bits.
        matches!(rest, [0x04, _, 0x03, _, _, bits, ..] if bits & SIGNS != 0)
    })
}

/// Whom a verifier of servers lets in.
#[derive(Debug)]
pub(super) enum Whom {
    /// Who has a certificate for the name that was asked for.
    Named,
    /// Who has one of these ids, whatever it is called.
    Allowed(Allowed),
    /// Whoever has the key of the certificate that it shows.
    Anybody,
}

/// Verifies servers: signatures and validity as always, and `whom`.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) roots: Arc<ArcSwap<RootCertStore>>,
    pub(super) whom: Whom,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if matches!(self.whom, Whom::Anybody) {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let (roots, algorithms) = (self.roots.load(), self.provider.signature_verification_algorithms.all);
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
        match &self.whom {
            Whom::Named => verify_server_name(&parsed, name)?,
            Whom::Allowed(allowed) => allowed.check(end_entity)?,
            Whom::Anybody => {}
        }
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
    use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose, SanType};

    use super::*;

    fn id(text: &str) -> SpiffeId {
        text.parse().unwrap()
    }

    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        certificate_for(uris, &[])
    }

    fn certificate_for(uris: &[&str], usages: &[KeyUsagePurpose]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.key_usages = usages.to_vec();
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

    #[test]
    fn a_certificate_that_claims_an_id_has_a_good_one() {
        for uris in [&[][..], &["https://example.org/a", "urn:a"], &["spiffe://example.org/a"]] {
            assert!(check_claim(&certificate(uris)).is_ok(), "{uris:?}");
        }
        for uris in [
            &["spiffe://example.org/a", "spiffe://example.org/b"][..],
            &["https://example.org/a", "spiffe://example.org/a"],
            &["spiffe://example.org"],
            &["SPIFFE://example.org/a"],
        ] {
            assert!(check_claim(&certificate(uris)).is_err(), "{uris:?}");
        }
    }

    #[test]
    fn a_workload_signs_nobody_elses_certificate() {
        use KeyUsagePurpose::{CrlSign, DataEncipherment, DigitalSignature, KeyCertSign};
        let allowed = Allowed::new([id("spiffe://example.org/a")]);
        let check = |usages: &[_]| allowed.check(&certificate_for(&["spiffe://example.org/a"], usages));
        assert!(check(&[DigitalSignature, DataEncipherment]).is_ok());
        assert!(check(&[DigitalSignature, KeyCertSign]).is_err());
        assert!(check(&[CrlSign]).is_err());
    }
}
