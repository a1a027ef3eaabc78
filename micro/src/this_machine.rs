//! Which names are this machine's own.

use std::net::IpAddr;

use http::uri::Authority;

/// Whether `host`, with or without a port, is a name that only this machine has: what a page elsewhere that has made a
/// name of its own mean this machine cannot say.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let name = host.to_ascii_lowercase();
    let named = name == "localhost" || name.ends_with(".localhost");
    !authority.as_str().contains('@') && (named || address.is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebound_name_is_no_name_of_this_machine() {
        for (host, local) in [
            ("127.0.0.1:8082", true),
            ("localhost:8082", true),
            ("LocalHost", true),
            ("[::1]:8082", true),
            ("shop.localhost:8082", true),
            ("evil.example:8082", false),
            ("localhost.evil.example", false),
            ("evil-localhost", false),
            ("192.168.0.7:8082", false),
            ("localhost@evil.example", false),
            ("localhost:80@evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(host), local, "{host}");
        }
    }
}
