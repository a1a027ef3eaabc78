//! A stream of deliveries that outlives reconnections.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::watch;

use crate::delivery::{Delivery, Origin};
use crate::event::Event;
use crate::member::Member;
use crate::policy::{DeadLetters, Policy};
use crate::settle::Settle;
use crate::subscribe::Subscribe;

/// What a backend yields: an event, and where to say what became of it.
pub type Incoming = (Event, Arc<dyn Settle>);

/// The stream of a subscription's events. It waits through outages and ends only when the broker is closed or the
/// group forgotten. Dropping it ends the subscription; what it had not yielded is handed back.
pub struct Subscription {
    source: Source,
    health: Health,
}

/// Where events come from.
enum Source {
    Queue(Member<Policy>),
    Backend(BoxStream<'static, Incoming>, Arc<Policy>),
}

impl Subscription {
    /// A subscription fed by a backend. Events that fail for good go to `letters`, the broker itself.
    pub fn new(
        incoming: BoxStream<'static, Incoming>,
        subscribe: Subscribe,
        letters: Arc<dyn DeadLetters>,
        health: Health,
    ) -> Self {
        Self { source: Source::Backend(incoming, Arc::new(Policy { subscribe, letters })), health }
    }

    /// A subscription to a queue in this process.
    pub(crate) fn of(member: Member<Policy>, health: Health) -> Self {
        Self { source: Source::Queue(member), health }
    }

    /// What was asked for.
    pub fn subscribe(&self) -> &Subscribe {
        &self.policy().subscribe
    }

    pub(crate) fn letters(&self) -> Arc<dyn DeadLetters> {
        self.policy().letters.clone()
    }

    fn policy(&self) -> &Policy {
        match &self.source {
            Source::Queue(member) => member.policy(),
            Source::Backend(_, policy) => policy,
        }
    }

    /// How the subscription fares, to be watched from elsewhere.
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        match &mut self.source {
            Source::Queue(member) => member
                .poll_next_unpin(cx)
                .map(|next| next.map(|(queued, hand)| Delivery::new(queued.into(), Origin::Queue(hand)))),
            Source::Backend(incoming, policy) => incoming.poll_next_unpin(cx).map(|next| {
                next.map(|(event, settle)| Delivery::new(event, Origin::Backend(settle, policy.clone())))
            }),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("subscribe", self.subscribe())
            .field("health", &self.health)
            .finish()
    }
}

/// How a subscription fares. Clones watch the same subscription.
#[derive(Clone, Debug)]
pub struct Health {
    report: watch::Receiver<Report>,
}

/// What a subscription reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Whether events can arrive now.
    pub connected: bool,
    /// How many times the subscription was restored after a lost connection.
    pub restored: u64,
    /// How many events were dropped because this subscriber was too slow.
    pub dropped: u64,
    /// Where and why events were dropped, or why the subscription is not connected.
    pub trouble: Option<String>,
}

impl Health {
    /// A backend's side and the subscriber's side of a report.
    pub fn new() -> (watch::Sender<Report>, Self) {
        let (sender, report) = watch::channel(Report { connected: true, ..Report::default() });
        (sender, Self { report })
    }

    /// The report as it is now.
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// Waits for the next change, and returns the report. `None` once the subscription has ended.
    pub async fn changed(&mut self) -> Option<Report> {
        self.report.changed().await.ok()?;
        Some(self.report.borrow_and_update().clone())
    }
}
