//! Whom this program trusts over TLS, and as whom it calls.

use std::path::Path;

use micro_tower::transport::{InvalidTls, Tls};

use crate::command::{Failure, Kind, spiffe_ids};
use crate::settings::Settings;

/// What the settings say of TLS; none where they say nothing, and the authorities of this machine are trusted. What goes on
/// for long goes on with what the files hold later.
pub(super) fn tls(settings: &Settings, insecure: bool) -> Result<Option<Tls>, Failure> {
    let unusable = |error: InvalidTls| Failure::new(Kind::Usage, error.to_string()).source(error);
    let [ca, cert, key, name, ids] =
        ["ca", "cert", "key", "tls_name", "spiffe"].map(|name| settings.get(name));
    if insecure {
        if ca.or(cert).or(key).or(name).or(ids).is_some() {
            let what = "--insecure trusts everybody, so there is nothing for --ca, --cert, --key, --tls-name and --spiffe to say";
            return Err(Failure::new(Kind::Usage, what).hint("--ca FILE without --insecure"));
        }
        return Tls::unverified().map(Some).map_err(unusable);
    }
    let tls = match (ca, cert, key) {
        (Some(ca), Some(cert), Some(key)) => Tls::files(ca, Some((Path::new(cert), Path::new(key)))),
        (Some(ca), None, None) => Tls::files(ca, None),
        (None, None, None) if name.or(ids).is_none() => return Ok(None),
        (None, None, None) if ids.is_none() => Tls::system(),
        _ => {
            let what = "a certificate to show to servers is a --cert, its --key, and the --ca that servers are trusted by; --spiffe wants a --ca, too";
            return Err(Failure::new(Kind::Usage, what).hint("all three of them"));
        }
    };
    let mut tls = tls.map_err(unusable)?;
    if let Some(name) = name {
        tls = tls.server_name(name).map_err(unusable)?;
    }
    match ids {
        Some(ids) => Ok(Some(tls.spiffe(spiffe_ids(ids.split(','))?))),
        None => Ok(Some(tls)),
    }
}
