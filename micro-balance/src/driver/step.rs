//! What the driver does next, one step at a time.

use std::{fmt, future::poll_fn, hash::Hash, pin::Pin, task::Poll, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tower::{
    BoxError,
    discover::{Change, Discover},
};

use super::{Event, State, slot::Health};
use crate::{caught, policy::Policy, stats::Report};

/// What is to be done next.
pub(super) enum Step<K, S> {
    Publish,
    Refresh,
    Report(Report),
    Event(Event),
    Change(Change<K, S>),
    Panicked(BoxError),
    /// Discovery has ended, or failed for this reason.
    Over(Option<String>),
}

/// What happens next of all that is waited for; what only panics is left at that.
pub(super) async fn next_event<K, S>(
    events: &mut FuturesUnordered<BoxFuture<'static, Event>>,
) -> Option<Step<K, S>> {
    poll_fn(|cx| match caught::at_once("what an endpoint's service left", || events.poll_next_unpin(cx)) {
        Ok(polled) => polled.map(|event| event.map(Step::Event)),
        Err(panicked) => Poll::Ready(Some(Step::Panicked(panicked))),
    })
    .await
}

/// What discovery says next, or why it cannot go on.
pub(super) async fn next_change<D>(
    discover: &mut Option<D>,
) -> Option<Result<Change<D::Key, D::Service>, String>>
where
    D: Discover + Unpin,
    D::Error: fmt::Display,
{
    let Some(discover) = discover else { return std::future::pending().await };
    poll_fn(|cx| match caught::at_once("discovery", || Pin::new(&mut *discover).poll_discover(cx)) {
        Ok(polled) => polled.map(|change| change.map(|change| change.map_err(|error| error.to_string()))),
        Err(panicked) => Poll::Ready(Some(Err(panicked.to_string()))),
    })
    .await
}

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    /// Takes one step; false when there is no balancer any more.
    pub(super) fn step(&mut self, step: Step<K, S>) -> bool {
        match step {
            Step::Publish => return self.publish(),
            Step::Refresh => self.touch_all(),
            Step::Report(report) => self.on_report(report),
            Step::Event(event) => self.on_event(event),
            Step::Change(change) => self.on_change(change),
            Step::Panicked(error) => self.panicked(&error),
            Step::Over(error) => self.on_over(error),
        }
        true
    }

    /// A clone of a service, or the end of one, has panicked: nothing is taken for granted of what was being done.
    pub(super) fn panicked(&mut self, error: &BoxError) {
        tracing::error!(service = self.driver.name.as_deref(), %error, "a step of the balancer was left undone");
        self.roster.all_changed();
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { serial, attempt, result } => self.on_connected(serial, attempt, result),
            Event::Slow(turn) => self.on_slow(turn),
            Event::EjectionOver(serial, turn) => self.on_ejection_over(serial, turn),
            Event::Untried(serial, turn) => self.on_untried(serial, turn),
            Event::Drained(serial) => self.on_drained(serial),
            Event::Probed(serial, result) => self.decide(serial, result.is_ok()),
            Event::LetGo => self.roster.let_go(),
            Event::Interval => self.on_interval(),
            Event::Figures => self.tell_figures(),
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Lost(serial) => {
                if let Some(slot) = self.slots.get(serial).filter(|slot| slot.is_wanted()) {
                    if slot.affairs().dialing.is_none() {
                        self.start(serial, Duration::ZERO);
                    }
                    self.on_lost();
                }
                self.touch(serial);
            }
            Report::Failing(serial, reason) => self.on_failing(serial, reason),
            Report::Checked(serial, condition) => self.on_checked(serial, condition),
            Report::Probed(serial, well) => {
                if let Some(slot) = self.slots.get(serial) {
                    slot.endpoint.stats().release_probe();
                    if slot.health() == Health::HalfOpen {
                        self.decide(serial, well);
                    }
                }
            }
        }
    }
}
