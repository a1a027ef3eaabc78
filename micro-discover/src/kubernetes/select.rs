//! What a client wants of a Service.

use super::slice::Port as SlicePort;

/// Which port of a Service's endpoints to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Port {
    /// The only TCP port; of several the one named `grpc`, else one whose `appProtocol` says gRPC or HTTP/2 without
    /// TLS, else the first by name.
    #[default]
    Any,
    /// The port of this name. A Service with one unnamed port calls it `""`.
    Name(String),
    /// The port of this number, as the pods listen on it.
    Number(u16),
}

/// Which of IPv4 and IPv6 to use where a Service has both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// IPv4, and IPv6 while no IPv4 endpoint can be used.
    #[default]
    PreferIpv4,
    /// IPv6, and IPv4 while no IPv6 endpoint can be used.
    PreferIpv6,
    /// Both; a pod with an address of each is one endpoint, at its IPv4 address.
    Both,
}

/// What a client wants of a Service, and where the client is.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) port: Port,
    pub(super) fallback_port: Option<u16>,
    pub(super) family: Family,
    pub(super) node: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) local: bool,
}

/// The port number that `wanted` means in a slice with these `ports`.
pub(super) fn port<'a>(ports: &'a [SlicePort], wanted: &Wanted) -> Option<(u16, Option<&'a str>)> {
    let number = |port: &SlicePort| port.port.filter(|number| *number != 0);
    let tcp = |port: &&SlicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let numbered = || ports.iter().filter(tcp).filter(|port| number(port).is_some());
    let name = |port: &&SlicePort| port.name.as_deref().unwrap_or_default().to_owned();
    let http2 = |port: &&SlicePort| {
        port.app_protocol.as_deref().is_some_and(|word| matches!(word, "kubernetes.io/h2c" | "h2c" | "grpc"))
    };
    let found = match &wanted.port {
        Port::Name(wanted) => numbered().find(|port| port.name.as_deref().unwrap_or_default() == wanted),
        Port::Number(wanted) => numbered().find(|port| port.port == Some(*wanted)),
        Port::Any => numbered()
            .find(|port| port.name.as_deref() == Some("grpc"))
            .or_else(|| numbered().filter(http2).min_by_key(name))
            .or_else(|| numbered().min_by_key(name)),
    };
    match found {
        Some(port) => Some((number(port)?, port.app_protocol.as_deref())),
        // Without any port, as in a headless Service, only the user can know it.
        None if ports.iter().all(|port| number(port).is_none()) => {
            wanted.fallback_port.map(|port| (port, None))
        }
        None => None,
    }
}
