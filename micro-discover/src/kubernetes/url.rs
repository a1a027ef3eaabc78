//! Reads what a URL says of a namespace, its Service and how its slices are read.

use super::Kubernetes;
use super::mirror::Initial;
use super::select::{Family, Port};
use crate::invalid::{Invalid, quoted};

/// Reads `namespace/service?port=grpc&zone=eu`: every part may be left out.
pub(super) fn parse(rest: &str) -> Result<Kubernetes, Invalid> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (namespace, service) = path.split_once('/').unwrap_or((path, ""));
    let mut kubernetes = Kubernetes::infer();
    if !namespace.is_empty() {
        check_dns(namespace).map_err(|error| error.at("namespace"))?;
        kubernetes = kubernetes.namespace(namespace);
    }
    if !service.is_empty() {
        check_dns(service).map_err(|error| error.at("service"))?;
        kubernetes = kubernetes.service(service);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |what: &str| Invalid::new(format!("{key} {} is not {what}", quoted(value)));
        let number = || value.parse::<u16>().ok().filter(|n| *n != 0).ok_or_else(|| wrong("in 1..=65535"));
        kubernetes = match (key, value) {
            ("port", _) if value.starts_with(|c: char| c.is_ascii_digit()) => {
                kubernetes.port(number().map(Port::Number)?)
            }
            ("port", _) => kubernetes.port(Port::Name(value.to_owned())),
            ("fallback-port", _) => kubernetes.fallback_port(number()?),
            ("zone", _) => kubernetes.zone(value),
            ("node", _) => kubernetes.node(value),
            ("local", "true" | "false") => kubernetes.local(value == "true"),
            ("family", "prefer-ipv4") => kubernetes.family(Family::PreferIpv4),
            ("family", "prefer-ipv6") => kubernetes.family(Family::PreferIpv6),
            ("family", "both") => kubernetes.family(Family::Both),
            ("initial", "watch-list") => kubernetes.initial(Initial::WatchList),
            ("initial", "list") => kubernetes.initial(Initial::List),
            ("local", _) => return Err(wrong("true or false")),
            ("family", _) => return Err(wrong("one of prefer-ipv4, prefer-ipv6, both")),
            ("initial", _) => return Err(wrong("watch-list or list")),
            _ => {
                let known = "port, fallback-port, zone, node, local, family, initial";
                return Err(Invalid::new(format!("{} is none of {known}", quoted(key))));
            }
        };
    }
    Ok(kubernetes)
}

/// Names of Services and namespaces are DNS labels.
pub(super) fn check_dns(name: &str) -> Result<(), Invalid> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= 63 && name.chars().all(fits) {
        return Ok(());
    }
    Err(Invalid::new("it is not 1 to 63 lower-case letters, digits and dashes").at(quoted(name)))
}
