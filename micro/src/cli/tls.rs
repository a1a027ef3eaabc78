//! Whom this program trusts over TLS, and as whom it calls.

use std::fs;

use micro_tower::transport::{InvalidTls, Tls};

use crate::command::{Failure, Kind};
use crate::settings::Settings;

/// What the settings say of TLS; none where they say nothing, and the authorities of this machine are trusted.
pub(super) fn tls(settings: &Settings, insecure: bool) -> Result<Option<Tls>, Failure> {
    let unusable = |error: InvalidTls| Failure::new(Kind::Usage, error.to_string()).source(error);
    let [ca, cert, key, name] = ["ca", "cert", "key", "tls_name"].map(|name| settings.get(name));
    if insecure {
        if ca.or(cert).or(key).or(name).is_some() {
            let what = "--insecure trusts everybody, so there is nothing for --ca, --cert, --key and --tls-name to say";
            return Err(Failure::new(Kind::Usage, what).hint("--ca FILE without --insecure"));
        }
        return Tls::unverified().map(Some).map_err(unusable);
    }
    let tls = match (ca, cert, key) {
        (Some(ca), Some(cert), Some(key)) => {
            Tls::mutual(&read("ca", ca)?, &read("cert", cert)?, &read("key", key)?)
        }
        (Some(ca), None, None) => Tls::trusting(&read("ca", ca)?),
        (None, None, None) if name.is_none() => return Ok(None),
        (None, None, None) => Tls::system(),
        _ => {
            let what = "a certificate to show to servers is a --cert, its --key, and the --ca that servers are trusted by";
            return Err(Failure::new(Kind::Usage, what).hint("all three of them"));
        }
    };
    let tls = tls.map_err(unusable)?;
    match name {
        Some(name) => tls.server_name(name).map(Some).map_err(unusable),
        None => Ok(Some(tls)),
    }
}

fn read(what: &str, path: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot read {path}"))
            .source(error)
            .tried(format!("to read --{what}"))
    })
}
