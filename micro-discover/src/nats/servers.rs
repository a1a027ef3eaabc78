//! Which servers of NATS, and how they let us in.

use std::fmt;

use async_nats::{ConnectOptions, ServerAddr};

use crate::invalid::{Invalid, quoted};
use crate::url::Url;

/// The servers, the login and the certificates.
pub(super) struct Servers {
    addresses: Vec<ServerAddr>,
    login: Option<(String, Option<String>)>,
    tls: Option<Tls>,
}

/// Paths of PEM files.
#[derive(Clone, Default)]
struct Tls {
    authority: Option<String>,
    identity: Option<(String, String)>,
}

impl Servers {
    pub(super) fn new<S: AsRef<str>>(servers: impl IntoIterator<Item = S>) -> Result<Self, Invalid> {
        let addresses =
            servers.into_iter().map(|server| address(server.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(Invalid::new("no server: at least one is needed, as in nats://127.0.0.1:4222"));
        }
        Ok(Self { addresses, login: None, tls: None })
    }

    /// The servers, the login and the certificates of a URL.
    pub(super) fn of(url: &mut Url) -> Result<Self, Invalid> {
        let mut servers = Self::new(std::mem::take(&mut url.hosts))?;
        servers.login = url.user.take().map(|user| (user, url.password.take()));
        let (tls, authority) = (url.take("tls").is_some(), readable(url, "ca")?);
        let identity = match (readable(url, "cert")?, readable(url, "key")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(Invalid::new("cert and key: one goes with the other")),
        };
        let wanted = tls || authority.is_some() || identity.is_some();
        servers.tls = wanted.then_some(Tls { authority, identity });
        Ok(servers)
    }

    pub(super) fn addresses(&self) -> &[ServerAddr] {
        &self.addresses
    }

    /// Adds to `options` what lets us in.
    pub(super) fn admit(&self, options: ConnectOptions) -> ConnectOptions {
        let mut options = match &self.login {
            None => options,
            Some((token, None)) => options.token(token.clone()),
            Some((user, Some(password))) => options.user_and_password(user.clone(), password.clone()),
        };
        if let Some(tls) = &self.tls {
            options = options.require_tls(true);
            if let Some(authority) = &tls.authority {
                options = options.add_root_certificates(authority.into());
            }
            if let Some((certificate, key)) = &tls.identity {
                options = options.add_client_certificate(certificate.into(), key.into());
            }
        }
        options
    }

    /// Without the passwords.
    fn places(&self) -> impl Iterator<Item = String> {
        self.addresses.iter().map(|server| format!("{}:{}", server.host(), server.port()))
    }
}

/// A server's address, given with or without its port.
fn address(server: &str) -> Result<ServerAddr, Invalid> {
    let wrong = |why: String| Invalid::new(why).at(format_args!("server {}", quoted(server)));
    let host = server.rsplit_once("://").map_or(server, |(_, host)| host);
    if host.is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    let address: ServerAddr = server.parse().map_err(|error: std::io::Error| wrong(error.to_string()))?;
    if address.port() == 0 || address.host().is_empty() || server.contains(char::is_whitespace) {
        return Err(wrong("it is not host:port".to_owned()));
    }
    Ok(address)
}

/// The path in the option `name`, of a file that can be read.
fn readable(url: &mut Url, name: &str) -> Result<Option<String>, Invalid> {
    let Some(path) = url.take(name) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) => Err(Invalid::new(format!("{name} {}: {error}", quoted(&path)))),
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places()).finish()
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.places().collect::<Vec<_>>().join(", "))
    }
}
