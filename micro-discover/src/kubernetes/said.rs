//! What one slice says of its endpoints, in the words of a client.

use std::sync::Arc;

use super::member::{At, Member};
use super::select::{Family, Wanted, port};
use super::slice::{Slice, Target};

/// An endpoint, as one slice says it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) source: Arc<Source>,
    pub(super) facts: Facts,
    staying: bool,
    /// Where addresses of both families are used.
    pub(super) pod: Option<Pod>,
    pub(super) member: Member,
}

/// The slice that says so.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    version: u64,
}

/// Which of two slices that have the same address is believed: the greater. Whether it stays, is ready, and the slice's
/// version and name.
type Rank<'a> = (bool, bool, u64, &'a str);

impl Said {
    pub(super) fn rank(&self) -> Rank<'_> {
        (self.staying, self.facts.ready, self.source.version, &self.source.name)
    }
}

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
pub(super) fn said(slice: Slice, wanted: &Wanted) -> impl Iterator<Item = (At, Said)> {
    let version = slice.metadata.resource_version.parse().unwrap_or(0);
    let source = Arc::new(Source { name: slice.metadata.name, version });
    let v4 = slice.address_type == "IPv4";
    let port = port(&slice.ports, wanted).filter(|_| v4 || slice.address_type == "IPv6");
    let port = port.map(|(port, protocol)| (port, protocol.map(str::to_owned)));
    let targets = if port.is_some() { slice.endpoints } else { Vec::new() };
    targets.into_iter().filter_map(move |mut target| {
        let (port, app_protocol) = port.as_ref()?;
        let Some(ip) = target.ip else {
            tracing::debug!(slice = source.name, "an endpoint without an IP address is left out");
            return None;
        };
        if ip.is_ipv4() != v4 {
            return None;
        }
        let said = Said {
            source: source.clone(),
            facts: facts(&target, wanted),
            staying: !target.conditions.terminating.unwrap_or(false),
            pod: if wanted.family == Family::Both { pod(&mut target) } else { None },
            member: member(target, app_protocol.as_deref()),
        };
        Some((At::new(ip, *port), said))
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

fn member(target: Target, app_protocol: Option<&str>) -> Member {
    let Target { zone, labels, .. } = target;
    let labels = match app_protocol {
        Some(protocol) => labels.with("app-protocol", protocol),
        None => labels,
    };
    Member { zone, labels }
}
