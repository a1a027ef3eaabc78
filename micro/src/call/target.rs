//! Whom a call is for.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use micro_discover::Address;

/// Whom a call is for: a service that the registry knows, or an address.
///
/// `127.0.0.1:50051`, `https://host`, `unix:/run/a.sock` are addresses, everything else is a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A service, by its name in the registry.
    Service(String),
    /// A server, wherever it is registered.
    Address(Address),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let address = text.contains(':').then(|| text.trim_end_matches('/').parse().ok()).flatten();
        Ok(address.map_or_else(|| Self::Service(text.to_owned()), Self::Address))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_port_or_a_scheme_is_an_address_and_all_else_a_name() {
        for address in ["127.0.0.1:50051", "host:80", "https://host", "http://host/", "unix:/run/a.sock"] {
            assert!(matches!(address.parse(), Ok(Target::Address(_))), "{address}");
        }
        for name in ["greeter", "go.micro.srv.greeter", "greeter:web"] {
            assert_eq!(name.parse(), Ok(Target::Service(name.to_owned())));
        }
    }
}
