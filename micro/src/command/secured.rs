//! What a face that serves over TLS shows its clients, and whom it serves.

use std::path::Path;

use micro_tower::server::ServerTls;
use micro_tower::transport::{InvalidSpiffeId, InvalidTls, SpiffeId};

use super::failure::{Failure, Kind};

/// The certificate in the files `chain` and `key`, and the clients with one of an authority in the file `authorities`; of
/// those, the ones that have one of `ids`, if there are any. The server keeps up with what the files hold.
pub(super) fn server_tls(
    (chain, key): (&Path, &Path),
    authorities: Option<&Path>,
    ids: &[String],
) -> Result<ServerTls, Failure> {
    let unusable = |error: InvalidTls| Failure::new(Kind::Usage, error.to_string()).source(error);
    let tried = || format!("to read {} and {}", chain.display(), key.display());
    let mut tls = ServerTls::files(chain, key).map_err(|error| unusable(error).tried(tried()))?;
    if let Some(file) = authorities {
        let tried = || format!("to read {}", file.display());
        tls = tls.clients_of_file(file).map_err(|error| unusable(error).tried(tried()))?;
    }
    if !ids.is_empty() {
        tls = tls.spiffe(spiffe_ids(ids.iter().map(String::as_str))?).map_err(unusable)?;
    }
    Ok(tls)
}

/// Reads SPIFFE ids.
///
/// # Errors
///
/// [`Kind::Usage`] for what is none.
pub(crate) fn spiffe_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Result<Vec<SpiffeId>, Failure> {
    let wrong = |error: InvalidSpiffeId| {
        Failure::new(Kind::Usage, error.to_string())
            .hint("spiffe://example.org/greeter, or spiffe://example.org for all")
    };
    ids.map(|id| id.trim().parse().map_err(wrong)).collect()
}
