//! Whole sets in, [`Change`]s out: the only place that computes a difference.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec;

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tokio::time::{Sleep, sleep};
use tower::discover::Change;

use crate::filter::Filter;
use crate::known::Known;
use crate::record::{Endpoint, EndpointId, Service};

/// What changes about the endpoints of a service: a tower [`Discover`](tower::discover::Discover) of endpoints.
///
/// A new or changed endpoint is an `Insert`, one that is gone a `Remove`; the inserts of a set come before its
/// removals, so replacing every endpoint leaves no moment without one. When the first set has no endpoint
/// the stream yields a single `Remove` of the empty key, which no endpoint has: it says "the registry has
/// answered, there is nobody", and balancers that do not know the rule ignore it.
#[must_use = "a stream does nothing unless polled"]
pub struct Endpoints {
    sets: BoxStream<'static, Vec<Service>>,
    filters: Vec<Filter>,
    known: Known,
    resolved: bool,
    /// The set that is being told, as far as it was not looked at.
    coming: Option<vec::IntoIter<Endpoint>>,
    /// Who was not in it.
    gone: vec::IntoIter<EndpointId>,
    keep: Duration,
    /// Runs while the registry says that nobody is there, and that is not believed yet.
    emptied: Option<Pin<Box<Sleep>>>,
}

impl Endpoints {
    /// The differences between the sets of `watch`, usually a [`Watch`](crate::Watch). It ends when `watch` does.
    pub fn new(watch: impl Stream<Item = Vec<Service>> + Send + 'static) -> Self {
        Self {
            sets: watch.boxed(),
            filters: Vec::new(),
            known: Known::default(),
            resolved: false,
            coming: None,
            gone: Vec::new().into_iter(),
            keep: Duration::ZERO,
            emptied: None,
        }
    }

    /// Keeps the endpoints it knows for this long while the registry says that there are none at all; zero, which
    /// believes it at once, unless set. Then they are removed.
    ///
    /// A registry that was restored, or asked with the wrong rights, says so of a service that runs. For a balancer
    /// little is lost by doubting it: endpoints that are gone take no requests anyway.
    pub fn keep_when_empty(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }

    /// Keeps only what `filter` lets through, and what earlier filters did.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Turns each endpoint into a service with `f`: a `Discover` for any tower balancer.
    pub fn connect<S, F>(self, f: F) -> Connect<F>
    where
        F: FnMut(&Endpoint) -> S + Send + 'static,
    {
        Connect { endpoints: self, f }
    }

    /// A set that the registry says: applied, unless it would take everything away and is to be doubted.
    fn hear(&mut self, set: Vec<Service>) {
        let set = self.filters.iter().fold(set, |set, filter| filter.apply(set));
        let empty = set.iter().all(|service| service.endpoints.is_empty());
        if !empty || self.known.is_empty() || self.keep.is_zero() {
            self.emptied = None;
            self.apply(set);
        } else if self.emptied.is_none() {
            let (known, keep) = (self.known.len(), self.keep);
            tracing::warn!(known, ?keep, "the registry says that nobody is there: keeping who was");
            self.emptied = Some(Box::pin(sleep(keep)));
        }
    }

    fn apply(&mut self, mut set: Vec<Service>) {
        let endpoints = match &mut *set {
            [one] => std::mem::take(&mut one.endpoints),
            _ => set.into_iter().flat_map(|service| service.endpoints).collect(),
        };
        self.known.turn(endpoints.len());
        self.coming = Some(endpoints.into_iter());
    }

    /// What changes next: worked out when it is asked for, since there may be ten thousand.
    fn change(&mut self) -> Option<Change<EndpointId, Endpoint>> {
        if let Some(coming) = &mut self.coming {
            let changed = coming.find(|endpoint| self.known.is_news(endpoint));
            let first = !std::mem::replace(&mut self.resolved, true);
            if let Some(endpoint) = changed {
                return Some(Change::Insert(endpoint.id.clone(), endpoint));
            }
            self.coming = None;
            let mut gone = self.known.gone();
            if first {
                gone.push(EndpointId::new());
            }
            self.gone = gone.into_iter();
        }
        self.gone.next().map(Change::Remove)
    }
}

impl Stream for Endpoints {
    type Item = Result<Change<EndpointId, Endpoint>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(change) = self.change() {
                return Poll::Ready(Some(Ok(change)));
            }
            match self.sets.poll_next_unpin(cx) {
                Poll::Ready(Some(set)) => self.hear(set),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let Some(doubt) = &mut self.emptied else { return Poll::Pending };
                    ready!(doubt.as_mut().poll(cx));
                    self.emptied = None;
                    self.apply(Vec::new());
                }
            }
        }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").field("known", &self.known).finish_non_exhaustive()
    }
}

/// [`Endpoints`] as services, from [`Endpoints::connect`].
#[must_use = "a stream does nothing unless polled"]
pub struct Connect<F> {
    endpoints: Endpoints,
    f: F,
}

// The closure is only ever called, never pinned.
impl<F> Unpin for Connect<F> {}

impl<S, F> Stream for Connect<F>
where
    F: FnMut(&Endpoint) -> S,
{
    type Item = Result<Change<EndpointId, S>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { endpoints, f } = &mut *self;
        endpoints.poll_next_unpin(cx).map(|change| match change? {
            Ok(Change::Insert(id, endpoint)) => Some(Ok(Change::Insert(id, f(&endpoint)))),
            Ok(Change::Remove(id)) => Some(Ok(Change::Remove(id))),
        })
    }
}

impl<F> fmt::Debug for Connect<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connect").field(&self.endpoints).finish()
    }
}
