//! Attempts to connect an endpoint.

use std::{
    fmt,
    hash::Hash,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{BoxFuture, abortable, poll_fn};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tower::BoxError;
use tower_service::Service;

use super::{Event, State};
use crate::{caught, error::chain, policy::Policy, stats::LOST};

/// Attempts that may be under way at once, where there is a limit.
pub(crate) type Places = Option<Arc<Semaphore>>;

/// An attempt that takes longer gives its place to the next: who never answers is not to keep anybody away.
const LONG: Duration = Duration::from_secs(1);

/// Waits, then asks `service` until it is ready. A panic of the service is a failure like any other.
pub(super) fn connect<S, Req>(
    mut service: S,
    delay: Duration,
    places: Places,
) -> BoxFuture<'static, Result<(), BoxError>>
where
    S: Service<Req> + Send + 'static,
    S::Error: Into<BoxError>,
    Req: 'static,
{
    let ready = poll_fn(move |cx: &mut Context<'_>| -> Poll<Result<(), BoxError>> {
        service.poll_ready(cx).map_err(Into::into)
    });
    let ready = caught::answer("the endpoint's service", || ready);
    let waited = async move {
        if !delay.is_zero() {
            sleep(delay).await;
        }
    };
    match places {
        None => Box::pin(async move {
            waited.await;
            ready.await
        }),
        Some(places) => Box::pin(async move {
            waited.await;
            in_turn(&places, ready).await
        }),
    }
}

/// Waits for a place first.
async fn in_turn<A>(places: &Semaphore, attempt: impl Future<Output = A>) -> A {
    let place = places.acquire().await;
    let mut attempt = pin!(attempt);
    if let Ok(answer) = timeout(LONG, &mut attempt).await {
        return answer;
    }
    drop(place);
    attempt.await
}

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    /// Starts an attempt to connect; one that is under way does not count any more.
    pub(super) fn start(&mut self, serial: u64, delay: Duration) {
        let Some(slot) = self.slots.get_mut(serial) else { return };
        slot.attempt = slot.attempt.wrapping_add(1);
        let (ready, dialing) =
            abortable((self.connect)(slot.original.clone(), delay, self.driver.places.clone()));
        if let Some(before) = slot.affairs_mut().dialing.replace(dialing) {
            before.abort();
        }
        let attempt = slot.attempt;
        self.events.push(Box::pin(async move {
            let result = ready.await.unwrap_or_else(|aborted| Err(aborted.into()));
            Event::Connected { serial, attempt, result }
        }));
    }

    pub(super) fn on_connected(&mut self, serial: u64, attempt: u32, result: Result<(), BoxError>) {
        let others = result.is_err() && self.has_ready();
        let Some(slot) = self.slots.get_mut(serial).filter(|slot| slot.attempt == attempt) else { return };
        slot.affairs_mut().dialing = None;
        match result {
            Ok(()) => {
                slot.endpoint.stats().unbar(LOST);
                slot.service = Some(slot.original.clone());
                if slot.affairs().failures > 0 || !slot.reached {
                    slot.reached = true;
                    let starts_slowly = self.driver.eligibility.slow_start.is_some();
                    slot.affairs_mut().since = starts_slowly.then(Instant::now);
                    slot.endpoint.stats().restart_reports();
                }
                let affairs = slot.affairs_mut();
                affairs.failures = 0;
                affairs.last_error = None;
                slot.tidy();
                tracing::debug!(service = self.driver.name.as_deref(), endpoint = ?slot.key, "endpoint ready");
                self.check(serial);
                self.listen(serial);
                self.on_first_ready(serial);
            }
            Err(error) => {
                let error = chain(error.as_ref());
                let affairs = slot.affairs_mut();
                affairs.failures = affairs.failures.saturating_add(1);
                let failures = affairs.failures;
                let wait = self.driver.reconnect.wait(failures, others, &self.driver.chance);
                tracing::debug!(service = self.driver.name.as_deref(), endpoint = ?slot.key, %error, failures, ?wait, "endpoint not reached");
                slot.affairs_mut().last_error = Some(error.into());
                self.start(serial, wait);
                self.on_not_reached(serial);
            }
        }
        self.touch(serial);
    }

    /// Whether some endpoint takes requests.
    fn has_ready(&self) -> bool {
        // What was published last says no before anybody has to be asked.
        self.had_ready && self.slots.values().any(|slot| slot.is_connected())
    }
}
