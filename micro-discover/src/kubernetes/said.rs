//! What one slice says of its endpoints, in the words of a client.

use std::net::SocketAddr;
use std::sync::Arc;

use super::select::{Wanted, port};
use super::slice::{Slice, Target};
use crate::address::Address;
use crate::invalid::check_name;
use crate::record::Endpoint;

/// An endpoint, as one slice says it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// The name of the slice.
    pub(super) slice: Arc<str>,
    pub(super) rank: Rank,
    pub(super) facts: Facts,
    pub(super) pod: Option<Pod>,
    pub(super) endpoint: Endpoint,
}

/// Which of two slices that have the same address is believed: the greater. Whether it stays, is ready, and the slice's
/// version and name.
pub(super) type Rank = (bool, bool, u64, Arc<str>);

/// What decides whether an endpoint is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) ready: bool,
    /// It shuts down and still answers.
    pub(super) last_resort: bool,
    /// It runs on the client's node.
    pub(super) local: bool,
    /// It is meant for some nodes, and for the client's.
    pub(super) node_hints: bool,
    pub(super) here: bool,
    /// It is meant for some zones, and for the client's.
    pub(super) zone_hints: bool,
    pub(super) near: bool,
}

/// What is the same for both addresses of a dual-stack pod: its uid, or else its node and hostname.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pod {
    Uid(Box<str>),
    Host(Box<str>, Box<str>),
}

/// What `slice` says of each address it has.
pub(super) fn said(slice: Slice, wanted: &Wanted) -> impl Iterator<Item = (SocketAddr, Said)> {
    let name: Arc<str> = slice.metadata.name.as_str().into();
    let version = slice.metadata.resource_version.parse().unwrap_or(0);
    let v4 = slice.address_type == "IPv4";
    let port = port(&slice.ports, wanted).filter(|_| v4 || slice.address_type == "IPv6");
    let port = port.map(|(port, protocol)| (port, protocol.map(str::to_owned)));
    let targets = if port.is_some() { slice.endpoints } else { Vec::new() };
    targets.into_iter().filter_map(move |mut target| {
        let (port, app_protocol) = port.as_ref()?;
        let Some(ip) = target.ip else {
            tracing::debug!(slice = &*name, "an endpoint without an IP address is left out");
            return None;
        };
        let (facts, at) = (facts(&target, wanted), SocketAddr::new(ip, *port));
        let staying = !target.conditions.terminating.unwrap_or(false);
        let said = Said {
            slice: name.clone(),
            rank: (staying, facts.ready, version, name.clone()),
            facts,
            pod: pod(&mut target),
            endpoint: endpoint(at, target, app_protocol.as_deref()),
        };
        (ip.is_ipv4() == v4).then_some((at, said))
    })
}

fn facts(target: &Target, wanted: &Wanted) -> Facts {
    let conditions = target.conditions;
    let among = |names: &[String], name: Option<&str>| names.iter().any(|hint| Some(hint.as_str()) == name);
    let (node, zone) = (wanted.node.as_deref(), wanted.zone.as_deref());
    Facts {
        ready: conditions.ready.unwrap_or(true),
        last_resort: conditions.serving.unwrap_or(true) && conditions.terminating.unwrap_or(false),
        local: node.is_some() && target.node() == node,
        node_hints: !target.hints.nodes.is_empty(),
        here: among(&target.hints.nodes, node),
        zone_hints: !target.hints.zones.is_empty(),
        near: among(&target.hints.zones, zone),
    }
}

/// Takes the uid.
fn pod(target: &mut Target) -> Option<Pod> {
    let uid = std::mem::take(&mut target.uid);
    match (&*uid, target.node(), target.hostname()) {
        ("", Some(node), Some(host)) => Some(Pod::Host(node.into(), host.into())),
        ("", ..) => None,
        _ => Some(Pod::Uid(uid)),
    }
}

fn endpoint(at: SocketAddr, target: Target, app_protocol: Option<&str>) -> Endpoint {
    let address = Address::of(at);
    let mut endpoint = Endpoint::new(address.authority().to_owned(), address);
    endpoint.zone = target.zone.filter(|zone| check_name(zone, 255).is_ok());
    endpoint.metadata = target.labels;
    if let Some(protocol) = app_protocol {
        endpoint.metadata.insert("app-protocol".to_owned(), protocol.to_owned());
    }
    endpoint
}
