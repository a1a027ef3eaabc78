//! Looks for an endpoint for a request that found none ready: waits for one, within limits.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, Sleep, sleep_until},
};
use tower::BoxError;
use tower_service::Service;

use crate::{
    chance::Chance,
    eligible::Marks,
    endpoint::Endpoint,
    error::{NoEndpoints, NoMatch, Nobody, NotReady, TooFewWell, Unready, chain},
    last_words::{Words, say},
    policy::Policy,
    protocol::Protocol,
    saturating::end,
    sent::NotSent,
    shared::Shared,
    snapshot::{Snapshot, Wish},
    tried::Tried,
};

type Candidate<S> = (Endpoint, S);
/// An endpoint that is ready, and the request for it.
type Found<S, Req> = (Endpoint, S, Req);

/// A request on its way to somebody.
pub(crate) struct Search<S, Req, P: Policy, T> {
    shared: Arc<Shared<S, P, T>>,
    request: Option<Req>,
    chance: Chance,
    began: Instant,
    /// Asked since the last change, and not ready; also what handed the request back.
    avoid: Tried,
    hand_backs: u8,
    /// Not ready when asked, and asked again while there is no one else: a service that is only busy
    /// wakes the request itself.
    candidate: Option<Candidate<S>>,
    changed: Option<Pin<Box<OwnedNotified>>>,
    sleep: Option<Pin<Box<Sleep>>>,
    last_error: Option<Arc<str>>,
    /// Where the request has been, if it says so.
    tried: Option<Tried>,
}

impl<S, Req, P, T> Search<S, Req, P, T>
where
    S: Service<Req> + Clone,
    P: Policy,
    T: Protocol<Req, S::Response>,
{
    /// Starts to look.
    pub(crate) fn new(shared: Arc<Shared<S, P, T>>, request: Req, chance: Chance) -> Self {
        let tried = shared.protocol.tried(&request).cloned();
        Self {
            shared,
            request: Some(request),
            chance,
            began: Instant::now(),
            avoid: Tried::default(),
            hand_backs: 0,
            candidate: None,
            changed: None,
            sleep: None,
            last_error: None,
            tried,
        }
    }

    /// Looks not at the endpoint with this serial number while there is another: it handed the request back, which
    /// has happened to it `times` times.
    pub(crate) fn handed_back(mut self, serial: u64, times: u8) -> Self {
        self.avoid.add(serial);
        self.hand_backs = times;
        self
    }

    /// How often the request came back unsent.
    pub(crate) fn hand_backs(&self) -> u8 {
        self.hand_backs
    }

    pub(crate) fn shared(&self) -> &Shared<S, P, T> {
        &self.shared
    }

    /// Waits for an endpoint; its service is ready to be called with the request.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found<S, Req>, BoxError>>
    where
        S::Error: Into<BoxError>,
    {
        loop {
            // To be told of what happens from here on, before looking at how things are.
            let shared = &self.shared;
            let mut changed =
                self.changed.take().unwrap_or_else(|| Box::pin(shared.changed.clone().notified_owned()));
            changed.as_mut().enable();
            // Before the snapshot, which may be the last.
            let (nobody, no_task) = (shared.over.nobody(), shared.over.task());
            let snapshot = shared.snapshot.load_full();
            if let Some((endpoint, service)) = self.ask(&snapshot, cx)
                && let Some(request) = self.request.take()
            {
                let tried = self.shared.protocol.tried(&request);
                if tried.is_some_and(|tried| !tried.add(endpoint.stats().serial())) {
                    self.shared.fallbacks.count(Marks::TRIED);
                }
                return Poll::Ready(Ok((endpoint, service, request)));
            }
            if let Some(error) = self.hopeless(&snapshot, (nobody, no_task), cx) {
                return Poll::Ready(Err(NotSent::new(error).into()));
            }
            if changed.as_mut().poll(cx).is_pending() {
                self.changed = Some(changed);
                return Poll::Pending;
            }
            self.avoid = Tried::default();
            self.candidate = None;
        }
    }

    /// Asks one endpoint after another whether it is ready.
    fn ask(&mut self, snapshot: &Snapshot<S, P>, cx: &mut Context<'_>) -> Option<Candidate<S>>
    where
        S::Error: Into<BoxError>,
    {
        for _ in 0..=snapshot.len() {
            let Some((endpoint, mut service)) = self.next(snapshot) else { break };
            match service.poll_ready(cx) {
                Poll::Ready(Ok(())) => return Some((endpoint, service)),
                Poll::Ready(Err(error)) => self.last_error = Some(chain(error.into().as_ref()).into()),
                Poll::Pending => {
                    self.candidate.get_or_insert((endpoint.clone(), service));
                }
            }
            endpoint.stats().lost();
            self.avoid.add(endpoint.stats().serial());
        }
        let (endpoint, mut service) = self.candidate.take()?;
        match service.poll_ready(cx) {
            Poll::Ready(Ok(())) => Some((endpoint, service)),
            Poll::Ready(Err(error)) => {
                self.last_error = Some(chain(error.into().as_ref()).into());
                None
            }
            Poll::Pending => {
                self.candidate = Some((endpoint, service));
                None
            }
        }
    }

    /// The next endpoint to ask: one that is open, not asked yet, and not tried if that can be had.
    fn next(&self, snapshot: &Snapshot<S, P>) -> Option<Candidate<S>> {
        let wish = self.wish()?;
        let (endpoint, service) =
            snapshot.pick(&self.shared.policy, &wish, &self.chance, &self.shared.fallbacks)?;
        Some((endpoint.clone(), service.clone()))
    }

    fn wish(&self) -> Option<Wish<'_>> {
        let request = self.request.as_ref()?;
        let protocol = &self.shared.protocol;
        Some(Wish {
            tried: protocol.tried(request),
            avoid: Some(&self.avoid),
            hash: protocol.hash(request),
            now: self.shared.now(),
            parts: protocol.parts(request),
        })
    }

    /// Why waiting any longer is of no use, if so.
    fn hopeless(
        &mut self,
        snapshot: &Snapshot<S, P>,
        (nobody, no_task): (Option<Nobody>, Option<&'static str>),
        cx: &mut Context<'_>,
    ) -> Option<BoxError> {
        let service = self.shared.name.clone();
        if snapshot.known == 0
            && let Some(why) = nobody.or(snapshot.resolved.then_some(Nobody::Announced))
        {
            return Some(NoEndpoints { service, why }.into());
        }
        if snapshot.refuses && snapshot.groups.is_empty() {
            return Some(TooFewWell { service, known: snapshot.known }.into());
        }
        if self.wish().is_some_and(|wish| snapshot.rejects(&self.shared.policy, &wish, &self.chance)) {
            return Some(NoMatch { service, ready: snapshot.len() }.into());
        }
        // One that is only busy may still have time for it.
        if let Some(why) = no_task
            && self.candidate.is_none()
        {
            let (known, waited) = (snapshot.known, Duration::ZERO);
            return Some(NotReady { service, known, waited, why: Unready::Over(why) }.into());
        }
        if self.shared.failfast.is_zero() && snapshot.may_yet_be_ready() {
            return None;
        }
        let until = end(snapshot.unready_since.unwrap_or(self.began), self.shared.failfast);
        let mut sleep = self.sleep.take().unwrap_or_else(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            self.sleep = Some(sleep);
            return None;
        }
        let (known, waited) = (snapshot.known, self.shared.failfast);
        if known == 0 {
            return Some(NoEndpoints { service, why: Nobody::Silent(waited) }.into());
        }
        Some(NotReady { service, known, waited, why: self.why(snapshot) }.into())
    }
}

impl<S, Req, P: Policy, T> Search<S, Req, P, T> {
    /// Why nobody is ready.
    fn why(&self, snapshot: &Snapshot<S, P>) -> Unready {
        let last = snapshot.noted.iter().find_map(|listed| listed.last_error.clone());
        last.or_else(|| self.last_error.clone()).map_or(Unready::Unknown, Unready::Attempt)
    }

    /// What a request is waiting for that is given up.
    fn waits(&self) -> String {
        let snapshot = self.shared.snapshot.load();
        let (service, known) = (self.shared.name.clone(), snapshot.known);
        let waited =
            Duration::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        if known == 0 {
            return NoEndpoints { service, why: Nobody::Silent(waited) }.to_string();
        }
        NotReady { service, known, waited, why: self.why(&snapshot) }.to_string()
    }
}

impl<S, Req, P: Policy, T> Drop for Search<S, Req, P, T> {
    fn drop(&mut self) {
        if self.request.is_some() {
            let unsent = self.tried.as_ref().is_some_and(Tried::is_empty);
            say(|| Words { text: self.waits().into(), unsent });
        }
    }
}
