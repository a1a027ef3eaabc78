//! Where a server listens, read from a URL.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use tower::BoxError;

use super::ServeError;
use crate::pipe::url::without_secrets;

/// A place to listen at. Its [`Display`](fmt::Display) shows no password.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// A name in this process.
    Memory(String),
    /// The URL of a NATS server, or several.
    Nats(String),
    /// The URL of a RabbitMQ server.
    RabbitMq(String),
}

impl Default for Place {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// A URL that says no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidPlace {
    url: String,
    why: &'static str,
}

impl From<InvalidPlace> for ServeError {
    fn from(InvalidPlace { url, why }: InvalidPlace) -> Self {
        Self::ListenAt { url, source: why.into() }
    }
}

impl Place {
    pub(super) fn refused(&self, source: impl Into<BoxError>) -> ServeError {
        ServeError::ListenAt { url: self.to_string(), source: source.into() }
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(url: &str) -> Result<Self, InvalidPlace> {
        let invalid = |why| InvalidPlace { url: without_secrets(url), why };
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let absolute = path.starts_with('/');
            return absolute
                .then(|| Self::Unix(path.into()))
                .ok_or(invalid("the path of a socket starts with /"));
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        match scheme {
            "http" => {
                let address = rest.trim_end_matches('/').replacen("localhost:", "127.0.0.1:", 1);
                address.parse().map(Self::Tcp).map_err(|_| invalid("it has no IP address and port"))
            }
            "memory" if !rest.is_empty() => Ok(Self::Memory(rest.to_owned())),
            "nats" | "tls" if !rest.is_empty() => Ok(Self::Nats(url.to_owned())),
            "amqp" | "amqps" | "rabbitmq" if !rest.is_empty() => Ok(Self::RabbitMq(url.to_owned())),
            "https" => Err(invalid("a server that shows a certificate is told so by Server::tls")),
            _ => Err(invalid("it starts with none of http:// unix: memory:// nats:// amqp://")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Memory(name) => write!(f, "memory://{name}"),
            Self::Nats(url) | Self::RabbitMq(url) => f.write_str(&without_secrets(url)),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        for (url, place) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("http://localhost:80/", "127.0.0.1:80"),
            ("http://[::1]:0", "[::1]:0"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("memory://greeter", "memory://greeter"),
            ("nats://u:hunter2@h:4222", "nats://h:4222"),
            ("amqp://u:hunter2@h/%2f", "amqp://h/%2f"),
        ] {
            assert_eq!(url.parse::<Place>().unwrap().to_string(), place);
        }
        for url in
            ["", "h:80", "http://h:80", "https://127.0.0.1:1", "unix:a", "memory://", "ftp://u:hunter2@h"]
        {
            let refused = url.parse::<Place>().unwrap_err();
            assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
        }
    }
}
