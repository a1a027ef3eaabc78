//! Requests whose bodies may take their time, and the places that their clients share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, interval};

use super::{
    rate::{Rate, Why},
    share::Shares,
};

/// How often those who wait look for bodies that are to end.
pub(super) const LOOK_EACH: Duration = Duration::from_millis(250);
/// What part of all room is for requests that are whole, and for no others.
const KEPT_FREE: usize = 8;

/// Bodies that have their places here until they are over.
pub(super) struct Crowd {
    shares: Arc<Shares>,
    bodies: Mutex<Bodies>,
}

/// Those that have a place, and some that may be over.
struct Bodies {
    rates: Vec<Rate>,
    /// When it is worth to look for those that are over.
    most: usize,
    looked: Instant,
}

impl Crowd {
    /// Where there is room for `most` requests.
    pub(super) fn new(most: usize) -> Self {
        let bodies = Bodies { rates: Vec::new(), most: 16, looked: Instant::now() };
        Self { shares: Arc::new(Shares::new(part_of(most))), bodies: Mutex::new(bodies) }
    }

    /// From now on there is room for `most`.
    pub(super) fn resize(&self, most: usize) {
        self.shares.resize(part_of(most));
    }

    /// Whether the body at `rate` has its place here.
    pub(super) fn has(&self, rate: &Rate) -> bool {
        rate.is_in(&self.shares)
    }

    /// A place for the body at `rate`, once there is one.
    pub(super) async fn place(&self, rate: Rate) {
        // One that was handed back, and comes again, is not to wait for itself.
        rate.leave();
        rate.keep(self.shares.place(rate.client()).await);
        self.note(rate);
    }

    /// The same, and has clients that have more than their share make room meanwhile.
    pub(super) async fn place_among_equals(&self, rate: Rate) {
        let place = self.place(rate);
        tokio::pin!(place);
        let mut looks = None;
        loop {
            tokio::select! {
                biased;
                () = &mut place => return,
                _ = looks.get_or_insert_with(|| interval(LOOK_EACH)).tick() => self.make_room(0),
            }
        }
    }

    fn note(&self, rate: Rate) {
        let mut bodies = self.bodies();
        if bodies.rates.len() >= bodies.most {
            bodies.rates.retain(|rate| !rate.is_over());
            bodies.most = (2 * bodies.rates.len()).max(16);
        }
        bodies.rates.push(rate);
    }

    /// Ends as many bodies that are too slow as there are requests `waiting`, the slowest first; and of clients that have
    /// more than their share as many as are owed to others.
    pub(super) fn make_room(&self, waiting: usize) {
        let mut bodies = self.bodies();
        if bodies.looked.elapsed() < LOOK_EACH / 2 {
            return; // another who waits has looked
        }
        bodies.looked = Instant::now();
        bodies.rates.retain(|rate| !rate.is_over());
        let ending = bodies.rates.iter().filter(|rate| rate.is_ending()).count();
        let wanted = waiting.saturating_sub(ending);
        let slow = slowest(&bodies.rates, Rate::too_few);
        let ended = slow.iter().take(wanted).map(|rate| rate.end(Why::TooSlow)).count();

        let mut balance = self.shares.balance();
        let owed = balance.owed.saturating_sub(ending + ended);
        if owed == 0 || balance.beyond.is_empty() {
            return;
        }
        let gives = |rate: &&&Rate| {
            let beyond = balance.beyond.get_mut(&rate.client()).filter(|beyond| **beyond > 0);
            beyond.map(|beyond| *beyond -= 1).is_some()
        };
        let held = slowest(&bodies.rates, Rate::long_enough);
        held.iter().filter(gives).take(owed).for_each(|rate| rate.end(Why::OverShare));
    }

    fn bodies(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What bodies may have of room for `most`.
fn part_of(most: usize) -> usize {
    (most - most / KEPT_FREE).max(1)
}

/// Those that have a rate, the lowest first.
fn slowest(rates: &[Rate], rate: impl Fn(&Rate) -> Option<f64>) -> Vec<&Rate> {
    let mut rated: Vec<_> = rates.iter().filter_map(|one| Some((rate(one)?, one))).collect();
    rated.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    rated.into_iter().map(|(_, one)| one).collect()
}
