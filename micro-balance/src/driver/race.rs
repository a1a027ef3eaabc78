//! One endpoint at a time: those after the first are tried when it fails or takes long, and the first that
//! is ready is the one.

use std::{fmt, hash::Hash, time::Duration};

use tokio::time::Instant;

use super::{
    Event, State,
    slot::{Slot, Stay},
};
use crate::{policy::Policy, saturating::end};

/// Endpoints by serial number, in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Race {
    order: Vec<u64>,
    /// How many have been tried.
    tried: usize,
    delay: Duration,
    /// When the one that was tried last has had its time.
    due: Instant,
    turn: u64,
}

impl Race {
    pub(super) fn new(order: Vec<u64>, delay: Duration) -> Self {
        Self { order, tried: 0, delay, due: Instant::now(), turn: 0 }
    }
}

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    /// Takes a new order. Who is connected stays, if it is in there; else all begin anew.
    pub(super) fn take_turns(&mut self, race: Race) {
        let connected = |serial: &u64| self.slots.get(*serial).is_some_and(Slot::is_connected);
        let holder = race.order.iter().copied().find(connected);
        // Attempts of those that are still to be tried go on: a change elsewhere is no reason to begin anew.
        let keep = |serial: &u64| match holder {
            Some(holder) => *serial == holder,
            None => race.order.contains(serial),
        };
        for slot in self.slots.values_mut() {
            if slot.is_wanted() && !keep(&slot.serial()) {
                slot.stay = Stay::Spare;
                slot.let_go();
            }
        }
        let (turn, due) = self.race.as_ref().map_or((0, race.due), |race| (race.turn, race.due));
        let under_way = self.slots.values().any(Slot::is_wanted);
        self.race = Some(Race { turn, due, ..race });
        match (holder, under_way) {
            (Some(_), _) => {}
            // Nor does their time: where there is a change all the time, nobody else would ever be tried.
            (None, true) => self.after(due.saturating_duration_since(Instant::now()), Event::Slow(turn)),
            (None, false) => self.try_next(),
        }
    }

    /// Tries the next one that is not under way yet, and the one after it when that takes long.
    fn try_next(&mut self) {
        let Some(race) = &mut self.race else { return };
        let idle = |serial: &u64| self.slots.get(*serial).is_some_and(|slot| !slot.is_wanted());
        let Some(skipped) = race.order.iter().skip(race.tried).position(idle) else { return };
        race.tried += skipped + 1;
        let serial = race.order[race.tried - 1];
        if let Some(slot) = self.slots.get_mut(serial) {
            slot.stay = Stay::Wanted;
        }
        // It is idle no more.
        self.touch(serial);
        self.start(serial, Duration::ZERO);
        self.give_time();
    }

    /// A while later, if nothing has become of it, the next one is tried.
    fn give_time(&mut self) {
        let Some(race) = &mut self.race else { return };
        race.turn += 1;
        race.due = end(Instant::now(), race.delay);
        let (delay, turn) = (race.delay, race.turn);
        self.after(delay, Event::Slow(turn));
    }

    pub(super) fn on_slow(&mut self, turn: u64) {
        if self.race.as_ref().is_some_and(|race| race.turn == turn) {
            self.try_next();
        }
    }

    /// The first that is ready ends the race.
    pub(super) fn on_first_ready(&mut self, winner: u64) {
        let Some(race) = &mut self.race else { return };
        race.turn += 1;
        for slot in self.slots.values_mut() {
            if slot.serial() != winner && slot.is_wanted() {
                slot.stay = Stay::Spare;
                slot.let_go();
            }
        }
    }

    /// Who fails makes room for the next at once, and is tried again later like any other.
    pub(super) fn on_not_reached(&mut self, serial: u64) {
        if self.slots.get(serial).is_some_and(|slot| slot.affairs().failures == 1) {
            self.try_next();
        }
    }

    /// Who was ready and is not any more is being tried again: a while later all are, from the first on.
    pub(super) fn on_lost(&mut self) {
        let Some(race) = &mut self.race else { return };
        race.tried = 0;
        self.give_time();
    }
}
