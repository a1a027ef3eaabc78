//! One resolution: questions, answers, and what they mean.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::pace::Pace;
use super::stub;
use crate::record::Endpoint;

/// What DNS says of a name.
pub(super) enum Answer {
    /// Its endpoints, valid for the TTL.
    Endpoints { endpoints: Vec<Endpoint>, ttl: Duration },
    /// That there is no such name, or nothing of the kind.
    Nothing,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the name server knows nothing of the name any more")]
    Vanished,
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Stub(#[from] stub::Failure),
}

/// Whom to ask.
pub(super) enum Resolver {
    /// The name servers, search list and hosts of this machine.
    System(Box<TokioResolver>),
    /// One name server.
    Stub(SocketAddr),
}

const TIMEOUT: Duration = Duration::from_secs(2);

/// A resolver without a cache: the watch keeps what it knows. It is made for each resolution, as a machine may come to another
/// network.
pub(super) fn resolver(server: Option<SocketAddr>) -> Result<Resolver, Failure> {
    if let Some(server) = server {
        return Ok(Resolver::Stub(server));
    }
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.cache_size = 0;
    options.attempts = 0;
    options.timeout = TIMEOUT;
    Ok(Resolver::System(Box::new(builder.build()?)))
}

/// Resolves `domain`: its addresses at `port`, or its SRV records.
pub(super) async fn resolve(
    resolver: &Resolver,
    pace: &Pace,
    domain: &str,
    port: Option<u16>,
) -> Result<Answer, Failure> {
    let found = match port {
        Some(port) => addresses(resolver, pace, domain).await?.map(|(ips, ttl)| {
            let endpoints = ips.into_iter().map(|ip| plain(&SocketAddr::new(ip, port).to_string()));
            (endpoints.flatten().collect::<Vec<_>>(), ttl)
        }),
        None => services(resolver, pace, domain).await?,
    };
    Ok(match found {
        Some((endpoints, ttl)) if !endpoints.is_empty() => {
            // The order of records means nothing and changes with every answer.
            let by_id: BTreeMap<_, _> = endpoints.into_iter().map(|e| (e.id.clone(), e)).collect();
            Answer::Endpoints { endpoints: by_id.into_values().collect(), ttl }
        }
        _ => Answer::Nothing,
    })
}

fn plain(at: &str) -> Option<Endpoint> {
    Some(Endpoint::new(at, at.parse().ok()?))
}

type Found<T> = Result<Option<(T, Duration)>, Failure>;

/// The records of one question; none when there is no such name or no such record.
async fn ask(resolver: &Resolver, pace: &Pace, domain: &str, kind: RecordType) -> Found<stub::Records> {
    pace.turn().await;
    let found = match resolver {
        Resolver::Stub(server) => stub::ask(*server, domain, kind).await?,
        Resolver::System(resolver) => by_system(resolver, domain, kind).await?,
    };
    Ok(found.map(|(answers, more)| {
        let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or(0);
        ((answers, more), Duration::from_secs(u64::from(ttl)))
    }))
}

async fn by_system(
    resolver: &TokioResolver,
    domain: &str,
    kind: RecordType,
) -> Result<Option<stub::Records>, Failure> {
    // A name with a dot stands for itself: search lists are for hosts.
    let name =
        if domain.contains('.') && !domain.ends_with('.') { format!("{domain}.") } else { domain.to_owned() };
    match resolver.lookup(name, kind).await {
        Ok(lookup) => Ok(Some((lookup.answers().to_vec(), lookup.additionals().to_vec()))),
        Err(error) if error.is_nx_domain() || is_empty(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the name server has answered that there is no such record: a failure of its own is something else.
fn is_empty(error: &NetError) -> bool {
    use hickory_resolver::net::DnsError;
    use hickory_resolver::proto::op::ResponseCode;
    matches!(error, NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError)
}

/// A and AAAA together: the failure of either is a failure, for half a set is no set.
async fn addresses(resolver: &Resolver, pace: &Pace, domain: &str) -> Found<Vec<IpAddr>> {
    let v4 = ask(resolver, pace, domain, RecordType::A);
    let v6 = ask(resolver, pace, domain, RecordType::AAAA);
    let (v4, v6) = futures_util::future::try_join(v4, v6).await?;
    let answers = [v4, v6].into_iter().flatten();
    Ok(answers.fold(None, |all, ((records, _), ttl)| {
        let ips = records.iter().filter_map(|record| ip(&record.data));
        let (mut known, least) = all.unwrap_or((Vec::new(), ttl));
        known.extend(ips);
        Some((known, least.min(ttl)))
    }))
}

fn ip(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

/// SRV records; a target's addresses come from the same answer, or else are asked for.
async fn services(resolver: &Resolver, pace: &Pace, domain: &str) -> Found<Vec<Endpoint>> {
    let Some(((records, additional), mut least)) = ask(resolver, pace, domain, RecordType::SRV).await? else {
        return Ok(None);
    };
    let mut resolved: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for record in additional.iter().chain(&records) {
        if let Some(ip) = ip(&record.data) {
            resolved.entry(record.name.to_lowercase().to_string()).or_default().push(ip);
        }
    }
    let mut endpoints = Vec::new();
    for record in &records {
        let RData::SRV(srv) = &record.data else { continue };
        let target = srv.target.to_lowercase().to_string();
        if srv.port == 0 || target == "." {
            continue;
        }
        if !resolved.contains_key(&target) {
            let (ips, ttl) = addresses(resolver, pace, &target).await?.unwrap_or_default();
            least = if ips.is_empty() { least } else { least.min(ttl) };
            resolved.insert(target.clone(), ips);
        }
        for ip in &resolved[&target] {
            let at = SocketAddr::new(*ip, srv.port).to_string();
            let said = |endpoint: Endpoint| {
                let weight = u32::from(srv.weight).max(1);
                let host = target.trim_end_matches('.');
                endpoint.weight(weight).priority(u32::from(srv.priority)).metadata("hostname", host)
            };
            endpoints.extend(plain(&at).map(said));
        }
    }
    Ok(Some((endpoints, least)))
}
