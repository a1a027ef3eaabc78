//! Drives a `tower::Service<Event>` with a subscription: its `Ok` acknowledges, its `Err` hands back.

use std::any::Any;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use tokio::task::JoinSet;
use tower::{BoxError, Service};

use crate::delivery::{Delivery, Fate};
use crate::error::{Error, Reject};
use crate::event::Event;
use crate::subscription::Subscription;

/// Drives `service` with the events of a subscription, until the subscription ends or [`Deliver::until`] says so.
///
/// Put layers around the service for a timeout, retries, a concurrency limit, tracing; here their answer counts:
///
/// | the service | the event |
/// | --- | --- |
/// | answers `Ok` | is acknowledged |
/// | answers `Err`, or panics | is delivered again after the back-off; after the last attempt it goes to the dead letters, with the error as the reason |
/// | answers an error caused by [`Reject`] | goes to the dead letters at once |
/// | is not ready | waits; nothing more is taken from the broker |
///
/// At most [`in_flight`](crate::Subscribe::in_flight) handlers run at once, each on its own task. An event that was
/// delivered more often than it may be tried (its handlers died) or whose deadline has passed is put aside unseen.
pub fn deliver<S>(subscription: Subscription, service: S) -> Deliver<S> {
    Deliver { subscription, service, until: std::future::pending().boxed(), grace: Duration::from_secs(30) }
}

/// A delivery about to run; see [`deliver`]. Await it.
#[must_use = "nothing is delivered until this is awaited"]
pub struct Deliver<S> {
    subscription: Subscription,
    service: S,
    until: BoxFuture<'static, ()>,
    grace: Duration,
}

/// How many events met which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Handled and acknowledged.
    pub handled: u64,
    /// Handed back to be delivered again.
    pub again: u64,
    /// Put aside among the dead letters.
    pub dead: u64,
    /// Settled here, but the broker could not hear it: they will be delivered again.
    pub unheard: u64,
    /// Cut off at the end of the grace time, and handed back.
    pub cut: u64,
}

impl<S> Deliver<S> {
    /// Stops gracefully when `stop` resolves: takes no more events, finishes those in hand and acknowledges them.
    pub fn until(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = stop.boxed();
        self
    }

    /// How long a graceful stop waits for handlers; 30 s unless told. What is cut off then is handed back.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

impl<S> Deliver<S>
where
    S: Service<Event> + Send,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<BoxError> + Send + 'static,
{
    /// Runs to the end; the future of [`Deliver`] boxed is the same.
    ///
    /// # Errors
    ///
    /// The service's own error when it says that it will never be ready again. What was in hand has been settled.
    pub async fn run(self) -> Result<Tally, BoxError> {
        let Self { mut subscription, mut service, mut until, grace } = self;
        let limit = subscription.subscribe().in_flight;
        let (mut tally, mut tasks, mut ready) = (Tally::default(), JoinSet::new(), false);
        let end = loop {
            let room = tasks.len() < limit;
            tokio::select! {
                biased;
                () = &mut until => break Ok(()),
                Some(done) = tasks.join_next() => tally.count(done.ok()),
                answer = readiness(&mut service), if !ready && room => match answer {
                    Ok(()) => ready = true,
                    Err(error) => break Err(error),
                },
                delivery = subscription.next(), if ready && room => {
                    let Some(delivery) = delivery else { break Ok(()) };
                    if let Some(reason) = delivery.unfit() {
                        tasks.spawn(async move { delivery.reject(reason).await.map(Some) });
                        continue;
                    }
                    ready = false;
                    let event = delivery.event().clone();
                    match catch_unwind(AssertUnwindSafe(|| service.call(event))) {
                        Ok(response) => tasks.spawn(handle(delivery, response)),
                        Err(panic) => tasks.spawn(async move { delivery.nack(told(&*panic)).await.map(Some) }),
                    };
                }
            }
        };
        let letters = subscription.letters();
        // What the subscription has fetched and not yielded is handed back now, not after the last handler.
        drop(subscription);
        let finish = async {
            while let Some(done) = tasks.join_next().await {
                tally.count(done.ok());
            }
        };
        if tokio::time::timeout(grace, finish).await.is_err() {
            tally.cut += tasks.len() as u64;
            tasks.shutdown().await;
        }
        if let Err(error) = letters.heard().await {
            tracing::warn!(error = chain(&error), "the broker may not have heard the last acknowledgements");
        }
        end.map(|()| tally)
    }
}

impl<S> IntoFuture for Deliver<S>
where
    S: Service<Event> + Send + 'static,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<BoxError> + Send + 'static,
{
    type Output = Result<Tally, BoxError>;
    type IntoFuture = BoxFuture<'static, Result<Tally, BoxError>>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl<S> std::fmt::Debug for Deliver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliver")
            .field("subscription", &self.subscription)
            .field("grace", &self.grace)
            .finish()
    }
}

/// The service's readiness; a panic in it is an error like any other.
async fn readiness<S>(service: &mut S) -> Result<(), BoxError>
where
    S: Service<Event>,
    S::Error: Into<BoxError>,
{
    let ready = poll_fn(|cx| service.poll_ready(cx));
    match AssertUnwindSafe(ready).catch_unwind().await {
        Ok(answer) => answer.map_err(Into::into),
        Err(panic) => Err(told(&*panic).into()),
    }
}

/// Runs one handler to its end and settles its event. `None` is an acknowledgement.
async fn handle<F, T, E>(delivery: Delivery, response: F) -> Result<Option<Fate>, Error>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    let answer = match delivery.settle().renew_every() {
        None => AssertUnwindSafe(response).catch_unwind().await,
        Some(every) => {
            let mut response = std::pin::pin!(AssertUnwindSafe(response).catch_unwind());
            loop {
                match tokio::time::timeout(every, &mut response).await {
                    Ok(answer) => break answer,
                    Err(_) => delivery.settle().renew(),
                }
            }
        }
    };
    match answer {
        Ok(Ok(_)) => delivery.ack().await.map(|()| None),
        Ok(Err(error)) => {
            let error: BoxError = error.into();
            let reason = chain(&*error);
            let settled =
                if Reject::is(&*error) { delivery.reject(reason).await } else { delivery.nack(reason).await };
            settled.map(Some)
        }
        Err(panic) => delivery.nack(told(&*panic)).await.map(Some),
    }
}

impl Tally {
    fn count(&mut self, done: Option<Result<Option<Fate>, Error>>) {
        match done {
            Some(Ok(None)) => self.handled += 1,
            Some(Ok(Some(Fate::Again(_)))) => self.again += 1,
            Some(Ok(Some(Fate::Dead))) => self.dead += 1,
            // A task that panicked outside the handler dropped its delivery, which handed the event back.
            None => self.again += 1,
            Some(Err(error)) => {
                self.unheard += 1;
                tracing::warn!(
                    error = chain(&error),
                    "an event was settled but the broker could not hear it"
                );
            }
        }
    }
}

/// What a panic said.
fn told(panic: &(dyn Any + Send)) -> String {
    let said =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", said.unwrap_or("without a message"))
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
