//! Listens to what endpoints say of their load by themselves, beside the requests.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use tokio::time::{sleep, timeout};
use tower::BoxError;

use crate::{caught, chance::Chance, error::chain, load_report::LoadReport, stats::Stats};

/// The wait before an endpoint is asked anew: 1 s, then 1.6 times as long each time, up to this.
const MOST: Duration = Duration::from_secs(120);

/// Reports of one endpoint, one after another; none if it has nothing to say until it is connected anew.
pub type Reports = Option<BoxStream<'static, Result<LoadReport, BoxError>>>;

/// Where reports of load come from that do not come with answers: for
/// [`Builder::load_reporter`](crate::Builder::load_reporter).
pub trait Reporter<S>: Send + Sync + 'static {
    /// Asks an endpoint for its reports.
    fn reports(&self, service: S) -> BoxFuture<'static, Result<Reports, BoxError>>;

    /// After how long without a report an endpoint is asked anew.
    fn patience(&self) -> Duration;
}

/// Listens to the endpoints of a balancer.
pub(crate) struct Listener<S>(Arc<dyn Reporter<S>>);

impl<S> Clone for Listener<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Clone + Send + Sync + 'static> Listener<S> {
    pub(crate) fn new(reporter: impl Reporter<S>) -> Self {
        Self(Arc::new(reporter))
    }

    /// Listens to one endpoint for as long as it has anything to say.
    pub(crate) async fn run(self, service: S, stats: Arc<Stats>, chance: Chance) {
        let mut failures = 0;
        loop {
            let heard =
                caught::answer("the reporter", || self.listen(service.clone(), &stats, &mut failures));
            match heard.await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(serial = stats.serial(), error = %chain(error.as_ref()), "no load reports");
                }
            }
            let wait = Duration::from_secs_f64(1.6_f64.powi(failures.min(16))).min(MOST);
            failures += 1;
            sleep(wait.mul_f64(0.8 + 0.4 * chance.fraction())).await;
        }
    }

    /// Takes reports until they end, which is an error unless there never are any.
    async fn listen(&self, service: S, stats: &Stats, failures: &mut i32) -> Result<(), BoxError> {
        let patience = self.0.patience();
        let Some(mut reports) = timeout(patience, self.0.reports(service)).await?? else { return Ok(()) };
        while let Some(report) = timeout(patience, reports.next()).await? {
            stats.load_reported(&report?);
            *failures = 0;
        }
        Err("the stream of load reports ended".into())
    }
}

impl<S> fmt::Debug for Listener<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
