//! Which endpoints the slices of a Service add up to: a pure function of all of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::slice::{Port as SlicePort, Slice, Target};
use crate::address::Address;
use crate::invalid::check_name;
use crate::record::Endpoint;

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

/// What can be used now, and what is there but must not be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selection {
    pub(super) chosen: BTreeMap<SocketAddr, Endpoint>,
    pub(super) refused: BTreeSet<SocketAddr>,
    /// Nobody is ready: what is chosen is shutting down and still answers.
    pub(super) degraded: bool,
}

/// One address and port, and the best that any slice says of it.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    at: SocketAddr,
    target: &'a Target,
    app_protocol: Option<&'a str>,
    /// What decides between two that share a key; the greatest stands.
    rank: (bool, bool, u64, &'a str),
}

/// In the order of their addresses, of which there are no two alike.
type Candidates<'a> = Vec<Candidate<'a>>;

impl Candidate<'_> {
    fn ready(&self) -> bool {
        self.target.conditions.ready.unwrap_or(true)
    }

    fn last_resort(&self) -> bool {
        let conditions = &self.target.conditions;
        conditions.serving.unwrap_or(true) && conditions.terminating.unwrap_or(false)
    }
}

/// Chooses among everything in `slices`, whatever their order.
pub(super) fn select<'a>(slices: impl Iterator<Item = &'a Slice> + Clone, wanted: &Wanted) -> Selection {
    let v4 = candidates(slices.clone(), "IPv4", wanted);
    let v6 = candidates(slices, "IPv6", wanted);
    let (ready4, ready6) = (usable(&v4, wanted, false), usable(&v6, wanted, false));
    let degraded = ready4.is_empty() && ready6.is_empty();
    let (from4, from6) = match degraded {
        false => (ready4, ready6),
        true => (usable(&v4, wanted, true), usable(&v6, wanted, true)),
    };
    let (from4, from6) = match wanted.family {
        Family::PreferIpv4 if !from4.is_empty() => (from4, Candidates::new()),
        Family::PreferIpv6 if !from6.is_empty() => (Candidates::new(), from6),
        Family::PreferIpv4 | Family::PreferIpv6 => (from4, from6),
        Family::Both => {
            let known: BTreeSet<_> = from4.iter().filter_map(|candidate| pod(candidate.target)).collect();
            let alone = |c: &Candidate<'_>| pod(c.target).is_none_or(|pod| !known.contains(&pod));
            let from6 = from6.into_iter().filter(alone).collect();
            (from4, from6)
        }
    };
    let chosen: BTreeMap<_, _> =
        from4.iter().chain(&from6).map(|candidate| (candidate.at, endpoint(candidate, degraded))).collect();
    let refused = v4.iter().chain(&v6).map(|candidate| candidate.at);
    let refused = refused.filter(|at| !chosen.contains_key(at)).collect();
    Selection { degraded: degraded && !chosen.is_empty(), chosen, refused }
}

fn candidates<'a>(slices: impl Iterator<Item = &'a Slice>, family: &str, wanted: &Wanted) -> Candidates<'a> {
    let mut all = Candidates::new();
    for slice in slices.filter(|slice| slice.address_type == family) {
        let Some((port, app_protocol)) = port(&slice.ports, wanted) else { continue };
        let version = slice.metadata.resource_version.parse().unwrap_or(0);
        for target in &slice.endpoints {
            let Some(ip) = target.ip else {
                tracing::debug!(slice = slice.metadata.name, "an endpoint without an IP address is left out");
                continue;
            };
            if ip.is_ipv4() != (family == "IPv4") {
                continue;
            }
            let staying = !target.conditions.terminating.unwrap_or(false);
            let ready = target.conditions.ready.unwrap_or(true);
            let rank = (staying, ready, version, slice.metadata.name.as_str());
            all.push(Candidate { at: SocketAddr::new(ip, port), target, app_protocol, rank });
        }
    }
    all.sort_by_key(|candidate| (candidate.at, Reverse(candidate.rank)));
    all.dedup_by_key(|candidate| candidate.at);
    all
}

/// The port number that `wanted` means in a slice with these `ports`.
fn port<'a>(ports: &'a [SlicePort], wanted: &Wanted) -> Option<(u16, Option<&'a str>)> {
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

/// What may be used of one family: what is ready, where topology allows it; or, as the `last_resort`, what is
/// shutting down and still answers.
fn usable<'a>(all: &Candidates<'a>, wanted: &Wanted, last_resort: bool) -> Candidates<'a> {
    let fits = |candidate: &Candidate<'_>| match last_resort {
        false => candidate.ready(),
        true => candidate.last_resort(),
    };
    let fit: Candidates<'a> = all.iter().copied().filter(fits).collect();
    let keep = |rule: &dyn Fn(&Target) -> bool| fit.iter().copied().filter(|c| rule(c.target)).collect();
    let node = wanted.node.as_deref();
    if wanted.local {
        return keep(&|target| node.is_some() && target.node() == node);
    }
    if last_resort {
        return fit;
    }
    let here = |target: &Target| target.hints.for_nodes.iter().any(|hint| Some(hint.name.as_str()) == node);
    let zone = wanted.zone.as_deref();
    let near = |target: &Target| target.hints.for_zones.iter().any(|hint| Some(hint.name.as_str()) == zone);
    let every = |rule: &dyn Fn(&Target) -> bool| fit.iter().all(|c| rule(c.target));
    let any = |rule: &dyn Fn(&Target) -> bool| fit.iter().any(|c| rule(c.target));
    if every(&|target| !target.hints.for_nodes.is_empty()) && any(&here) {
        return keep(&here);
    }
    if every(&|target| !target.hints.for_zones.is_empty()) && any(&near) {
        return keep(&near);
    }
    fit
}

/// What is the same for both addresses of a dual-stack pod.
fn pod(target: &Target) -> Option<(&str, &str)> {
    match (&*target.uid, target.node(), target.hostname()) {
        ("", Some(node), Some(host)) => Some((node, host)),
        ("", ..) => None,
        (uid, ..) => Some((uid, "")),
    }
}

fn endpoint(candidate: &Candidate<'_>, degraded: bool) -> Endpoint {
    let Candidate { at, target, app_protocol, .. } = candidate;
    let address = Address::of(*at);
    let mut endpoint = Endpoint::new(address.authority().to_owned(), address);
    endpoint.zone = target.zone.clone().filter(|zone| check_name(zone, 255).is_ok());
    endpoint.metadata = target.labels.clone();
    let more = [("app-protocol", *app_protocol), ("terminating", degraded.then_some("true"))];
    for (key, value) in more.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        endpoint.metadata.insert(key.to_owned(), value.to_owned());
    }
    endpoint
}
