//! Keeps records in etcd, under the keys and in the JSON of go-micro, so that either finds the other's services.
//!
//! An endpoint is one key, `/micro/registry/<service>/<id>`; the older `/micro-registry/…` is read as well. What one
//! announcement puts hangs on one lease. Members are used one at a time: when the one in use fails, freezes or has lost
//! its leader, the next one is asked.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};

use self::layout::Layout;
use self::leases::Leases;
use self::members::Members;
use self::rpc::{Options, Tls};
use self::table::{Seen, Table};
use self::watcher::Watcher;
use crate::endless::YEAR;
use crate::invalid::{Invalid, quoted};
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};
use crate::url::Url;

mod answer;
mod fields;
mod layout;
mod leases;
mod members;
mod page;
mod record;
mod rpc;
mod scan;
mod table;
mod watcher;
mod wire;

const BACKEND: &str = "etcd";

/// A registry in an etcd cluster. Clones share their connection.
///
/// A user needs rights to the keys below `/micro/registry/`; those below `/micro-registry/` are read where that is allowed.
/// TTLs are rounded up to whole seconds, and etcd makes short ones longer (by default to two seconds). Once a
/// cluster that had no leader has one again, an endpoint that is missing is kept for another
/// [`grace`](EtcdBuilder::grace): its lease may have run out merely because nobody could renew it. So is one that is missing
/// from a cluster whose revision has gone back: that was set up anew, or from a backup.
#[derive(Clone)]
pub struct Etcd {
    members: Arc<Members>,
    leases: Arc<Leases>,
    seen: Arc<Seen>,
}

/// How to reach a cluster; [`build`](Self::build) makes the registry.
#[must_use = "a builder does nothing before build"]
pub struct EtcdBuilder {
    members: Vec<String>,
    user: Option<(String, String)>,
    tls: Option<Tls>,
    grace: Duration,
    layout: Layout,
}

impl Etcd {
    /// The cluster with these members, each `host:port` or `host`, whose port is then 2379. Nothing is connected
    /// before it is first used.
    pub fn builder<M: Into<String>>(members: impl IntoIterator<Item = M>) -> EtcdBuilder {
        let members = members.into_iter().map(Into::into).collect();
        let (grace, layout) = (Duration::from_secs(10), Layout::default());
        EtcdBuilder { members, user: None, tls: None, grace, layout }
    }

    /// What follows `etcd://` or `etcds://`: `user:password@h1:2379,h2:2379?ca=/ca.pem&grace=20&compat=v0`.
    pub(crate) fn parse(rest: &str, tls: bool) -> Result<Self, Error> {
        configured(Url::parse(rest), tls).map_err(invalid)?.build()
    }

    /// The records of `name`, or of all services.
    async fn read(&self, name: Option<&str>) -> Result<Vec<Service>, Error> {
        let scanned = self.members.scan(&self.seen, name, |_, _| ready(Ok(()))).await;
        let (found, ()) = scanned.map_err(|trouble| trouble.cannot("read the records", &self.members))?;
        Ok(Table::from(found).services())
    }

    async fn found(&self, name: &str) -> Result<Vec<Service>, Error> {
        check_service_name(name).map_err(invalid)?;
        self.read(Some(name)).await
    }
}

const OPTIONS: &str = "ca, cert, compat, key, grace";

fn configured(mut url: Url, tls: bool) -> Result<EtcdBuilder, Invalid> {
    if !url.path.is_empty() {
        return Err(Invalid::new("a path: records are where go-micro has them"));
    }
    let mut builder = Etcd::builder(std::mem::take(&mut url.hosts));
    builder = match (url.user.take(), url.password.take()) {
        (None, _) => builder,
        (Some(name), Some(password)) => builder.user(name, password),
        (Some(_), None) => {
            return Err(Invalid::new("a user without a password, as in etcd://user:password@host"));
        }
    };
    if tls {
        builder = builder.tls();
    }
    if let Some(authority) = url.file("ca")? {
        builder.tls.get_or_insert_default().authority = Some(authority);
    }
    if let Some(identity) = url.identity()? {
        builder.tls.get_or_insert_default().identity = Some(identity);
    }
    if let Some(grace) = url.seconds("grace")? {
        builder = builder.grace(grace);
    }
    match url.take("compat").as_deref() {
        None => {}
        Some("v0") => builder = builder.compat_v0(),
        Some(other) => return Err(Invalid::new(format!("compat {}: it is not v0", quoted(other)))),
    }
    url.end(OPTIONS)?;
    Ok(builder)
}

fn invalid(what: Invalid) -> Error {
    Error::Invalid { backend: BACKEND, what }
}

impl EtcdBuilder {
    /// Logs in, where that is asked for. The token is renewed when it expires.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// Encrypts, and trusts the certificate authorities of the system.
    pub fn tls(mut self) -> Self {
        self.tls.get_or_insert_with(|| Tls { roots: true, ..Tls::default() });
        self
    }

    /// Encrypts, and trusts this certificate authority, in PEM.
    pub fn certificate_authority(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls.get_or_insert_default().authority = Some(pem.as_ref().to_vec().into());
        self
    }

    /// Encrypts, and shows this certificate with its key, in PEM.
    pub fn identity(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let pem = |text: &[u8]| text.to_vec().into();
        self.tls.get_or_insert_default().identity = Some((pem(certificate.as_ref()), pem(key.as_ref())));
        self
    }

    /// Sets for how long endpoints may be missing after the cluster had no leader, or lost its data: 10 s when nothing is
    /// said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(YEAR);
        self
    }

    /// Puts endpoints where go-micro's plugin before v1.12 looks for them, `/micro-registry/`, with the port apart from
    /// the address. Both layouts are read in any case.
    pub fn compat_v0(mut self) -> Self {
        self.layout = Layout::V0;
        self
    }

    /// The registry.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is no member or one is no `host:port`.
    pub fn build(self) -> Result<Etcd, Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut members = Vec::new();
        for member in &self.members {
            members.push(format!("{scheme}://{}", with_port(member).map_err(invalid)?));
        }
        if members.is_empty() {
            return Err(invalid(Invalid::new(
                "no member: at least one is needed, as in etcd://127.0.0.1:2379",
            )));
        }
        let options = Options { user: self.user, tls: self.tls };
        let members = Arc::new(Members::new(members, options));
        Ok(Etcd {
            members,
            leases: Arc::new(Leases::new(self.layout)),
            seen: Arc::new(Seen::new(self.grace)),
        })
    }
}

/// `host:port` of a member given with or without its port.
fn with_port(member: &str) -> Result<String, Invalid> {
    let bracketed = member.starts_with('[') && member.ends_with(']');
    let text = if bracketed || !member.contains(':') { format!("{member}:2379") } else { member.to_owned() };
    let address: crate::Address =
        text.parse().map_err(|error: Invalid| error.at(format_args!("member {}", quoted(member))))?;
    match (address.scheme(), address.host(), address.port()) {
        ("http", Some(_), Some(_)) => Ok(address.authority().to_owned()),
        _ => Err(Invalid::new("it is not host:port").at(format_args!("member {}", quoted(member)))),
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("members", &self.members.endpoints()).finish_non_exhaustive()
    }
}

impl fmt::Debug for EtcdBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdBuilder").field("members", &self.members).finish_non_exhaustive()
    }
}

impl Registry for Etcd {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            self.leases.put(&self.members, &service, ttl).await
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            check_announced(BACKEND, &service)?;
            self.leases.remove(&self.members, &service).await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(self.read(None))
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move { self.found(&name).await })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        if let Err(what) = check_service_name(name) {
            return stream::iter([Err(invalid(what))]).boxed();
        }
        let watcher = Watcher::new(self.members.clone(), self.seen.clone(), name.to_owned());
        stream::unfold(watcher, Watcher::next).boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

/// Reads what a member says of keys, in pieces of `size` bytes.
#[cfg(any(test, fuzzing))]
pub(crate) fn probe(size: usize, message: &[u8]) {
    page::probe(size, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_members_and_never_tells_the_password() {
        let etcd = Etcd::parse("root:hunter2@h1:1,h2,[::1]", false).unwrap();
        let shown = format!("{etcd:?}");
        assert!(shown.contains("http://h1:1") && shown.contains("http://h2:2379"), "{shown}");
        assert!(shown.contains("http://[::1]:2379") && !shown.contains("hunter2"), "{shown}");
        assert!(format!("{:?}", Etcd::parse("h", true).unwrap()).contains("https://h:2379"));
    }

    #[test]
    fn a_url_without_members_or_with_a_bad_one_is_refused() {
        for url in [
            "",
            ",",
            "h:0",
            "h:99999",
            "unix:/x",
            "root@h",
            "a b",
            "h/path",
            "h?x=1",
            "h?grace=no",
            "h?compat=v9",
        ] {
            let error = Etcd::parse(url, false).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{url}");
        }
    }
}
