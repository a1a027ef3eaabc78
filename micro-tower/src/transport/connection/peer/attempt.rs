//! An attempt to connect to an endpoint, and what becomes of the connection it makes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use h2::Reason;
use tokio::time::Instant;
use tower::BoxError;

use super::Peer;
use crate::{
    error::{Error, Phase},
    transport::{
        connect::{Connector, HttpVersion},
        foreign::Foreign,
        http2::{Driver, Http2},
        request::RequestBody,
        target::Target,
    },
};

/// Makes one connection and adds it to the endpoint.
pub(super) async fn connect<B: RequestBody>(
    endpoint: Weak<Peer<B>>,
    settings: Arc<Connector>,
    target: Arc<Target>,
) -> Result<(), Failed> {
    let started = Instant::now();
    let late = Mutex::new(None);
    let made = make(&endpoint, &settings, &target, &late);
    let made = tokio::time::timeout(settings.connect_timeout, made).await;
    let result = made.unwrap_or_else(|_| match late.into_inner() {
        Ok(Some(foreign)) => Err(foreign.into()),
        _ => Err("connecting took too long".into()),
    });
    if let Some(endpoint) = endpoint.upgrade() {
        endpoint.running().failed_at = result.is_err().then(Instant::now);
    }
    result.map_err(|error| Failed { elapsed: started.elapsed(), ..Failed::new(error) })
}

/// The same, and what to say of a peer where time runs out meanwhile.
async fn make<B: RequestBody>(
    endpoint: &Weak<Peer<B>>,
    settings: &Connector,
    target: &Target,
    late: &Mutex<Option<Foreign>>,
) -> Result<(), BoxError> {
    if let Some(gomicro) = endpoint.upgrade().and_then(|endpoint| endpoint.gomicro.clone()) {
        gomicro.connect(settings, target).await?;
        if let Some(endpoint) = endpoint.upgrade() {
            endpoint.http1.reached(true);
        }
        return Ok(());
    }
    let (io, version) = settings.dial(target).await?;
    let calm = endpoint.upgrade().map_or(0, |endpoint| endpoint.calm.load(Ordering::Relaxed));
    if version == HttpVersion::Http1 {
        if let Some(endpoint) = endpoint.upgrade() {
            endpoint.http1.insert(io);
        }
        return Ok(());
    }
    let say = |foreign| *late.lock().unwrap_or_else(PoisonError::into_inner) = Some(foreign);
    say(Foreign::Silent);
    let interval = settings.ping_interval.map(|interval| interval * 2_u32.pow(calm));
    let (http2, driver) =
        Http2::handshake(io, settings, interval, target.name().clone(), || say(Foreign::Full)).await?;
    if let Some(endpoint) = endpoint.upgrade() {
        endpoint.insert(&http2, driver);
    }
    Ok(())
}

/// Runs a connection, and takes it away from its endpoint when it is not to be used any more.
pub(super) async fn drive<B: RequestBody>(endpoint: Weak<Peer<B>>, http2: Weak<Http2>, mut driver: Driver) {
    let reason = driver.open().await;
    if let Some(endpoint) = endpoint.upgrade() {
        endpoint.remove(&http2);
        if reason == Some(Reason::ENHANCE_YOUR_CALM) && endpoint.calm.load(Ordering::Relaxed) < 8 {
            endpoint.calm.fetch_add(1, Ordering::Relaxed);
        }
    }
    driver.drain().await;
}

/// Why an attempt failed, for everyone who waited for it.
#[derive(Clone, Debug)]
pub(in crate::transport::connection) struct Failed {
    elapsed: Duration,
    source: Arc<BoxError>,
}

impl Failed {
    pub(super) fn new(source: impl Into<BoxError>) -> Self {
        Self { elapsed: Duration::ZERO, source: Arc::new(source.into()) }
    }

    pub(in crate::transport::connection) fn at(self, target: &Target) -> Error {
        let elapsed = self.elapsed;
        let told = self.source.is::<Foreign>();
        let error = target.name().blame(Error::not_sent(Phase::Connect, self).elapsed(elapsed));
        if told { error.without_hint() } else { error }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}
