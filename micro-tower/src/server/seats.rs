//! Who is connected, so that where there is room for no more, who asks for nothing makes some.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::task::AbortHandle;

use super::pace::Pace;
use crate::transport::network_of;

/// The connections there are. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<State>>);

/// A connection, until this is dropped.
pub(super) struct Seat {
    seats: Seats,
    client: IpAddr,
    number: u64,
    held: Arc<Held>,
}

#[derive(Default)]
struct State {
    /// By client, the oldest first.
    clients: HashMap<IpAddr, BTreeMap<u64, Arc<Held>>>,
    /// How many each has.
    counts: BTreeSet<(usize, IpAddr)>,
    last_number: u64,
}

#[derive(Default)]
struct Held {
    /// What its requests are doing, once it can have any.
    pace: OnceLock<Pace>,
    task: OnceLock<AbortHandle>,
    ended: AtomicBool,
}

impl Seats {
    /// One more, from `address`.
    pub(super) fn take(&self, address: IpAddr) -> Seat {
        let (client, held) = (network_of(address), Arc::default());
        let mut state = self.state();
        state.last_number += 1;
        let number = state.last_number;
        state.change(client, |seats| drop(seats.insert(number, Arc::clone(&held))));
        Seat { seats: self.clone(), client, number, held }
    }

    /// Ends a connection in favour of one more from `address`, if there is one to end. It is of who has most of them: the oldest
    /// that has never asked for anything, or else one that asks for nothing now, if he has several and more than there are from
    /// there, or is there himself.
    pub(super) fn make_room(&self, address: Option<IpAddr>) -> bool {
        let state = self.state();
        let own = address.map(network_of);
        let few = own.and_then(|own| state.clients.get(&own)).map_or(1, BTreeMap::len);
        let most_first = state.counts.iter().rev().take_while(|(count, _)| *count >= few);
        let ending = most_first.filter_map(|(count, client)| {
            let seats = state.clients.get(client)?;
            let gives = *count > 1 && (*count > few || Some(*client) == own);
            let silent = seats.values().find(|held| held.is_silent());
            silent.or_else(|| seats.values().find(|held| gives && held.is_idle()))
        });
        ending.map(|held| held.end()).next().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Its requests are known to `pace` from now on.
    pub(super) fn speaks(&self, pace: &Pace) {
        let _ = self.held.pace.set(pace.clone());
    }

    /// What tells which task serves it, once there is one.
    pub(super) fn service(&self) -> impl FnOnce(AbortHandle) + use<> {
        let held = self.held.clone();
        move |task| drop(held.task.set(task))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.seats.state();
        state.change(self.client, |seats| drop(seats.remove(&self.number)));
    }
}

impl State {
    fn change(&mut self, client: IpAddr, change: impl FnOnce(&mut BTreeMap<u64, Arc<Held>>)) {
        let seats = self.clients.entry(client).or_default();
        self.counts.remove(&(seats.len(), client));
        change(seats);
        match seats.len() {
            0 => drop(self.clients.remove(&client)),
            count => drop(self.counts.insert((count, client))),
        }
    }
}

impl Held {
    fn is_silent(&self) -> bool {
        !self.ended.load(Relaxed) && self.pace.get().is_none_or(Pace::is_new)
    }

    fn is_idle(&self) -> bool {
        !self.ended.load(Relaxed) && self.pace.get().is_none_or(Pace::is_idle)
    }

    fn end(&self) -> bool {
        let Some(task) = self.task.get() else { return false };
        self.ended.store(true, Relaxed);
        task.abort();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::JoinHandle;

    use super::*;

    /// One from `address`, which has asked for something or not.
    fn sit(seats: &Seats, address: &str, asked: bool) -> (Seat, JoinHandle<()>) {
        let seat = seats.take(address.parse().unwrap());
        let pace = Pace::new();
        seat.speaks(&pace);
        if asked {
            drop(pace.begin());
        }
        let task = tokio::spawn(pending());
        seat.service()(task.abort_handle());
        (seat, task)
    }

    async fn is_ended(task: &mut JoinHandle<()>) -> bool {
        tokio::task::yield_now().await;
        task.is_finished()
    }

    #[tokio::test]
    async fn the_oldest_that_says_nothing_of_who_has_most_is_ended() {
        let seats = Seats::default();
        let mut all = ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3"].map(|at| sit(&seats, at, false));
        assert!(seats.make_room(Some("192.0.2.3".parse().unwrap())));
        assert!(is_ended(&mut all[1].1).await && !is_ended(&mut all[2].1).await);
        assert!(seats.make_room(None));
        assert!(is_ended(&mut all[2].1).await, "who was ended is not asked again");
        drop(all);
        assert!(seats.state().clients.is_empty() && seats.state().counts.is_empty());
    }

    #[tokio::test]
    async fn who_asks_now_and_then_is_ended_for_those_who_have_fewer_and_nobody_who_is_asking() {
        let seats = Seats::default();
        let address = |text: &str| Some(text.parse().unwrap());
        let (seat, mut busy) = sit(&seats, "192.0.2.1", true);
        let _request = seat.held.pace.get().unwrap().begin();
        let (_one, mut first) = sit(&seats, "192.0.2.1", true);
        let (_two, mut second) = sit(&seats, "192.0.2.1", true);
        let (_other, mut other) = sit(&seats, "192.0.2.2", true);
        assert!(seats.make_room(address("192.0.2.2")));
        assert!(is_ended(&mut first).await && !is_ended(&mut other).await);
        assert!(seats.make_room(address("192.0.2.1")));
        assert!(is_ended(&mut second).await && !is_ended(&mut busy).await);
        assert!(!seats.make_room(address("192.0.2.2")) && !is_ended(&mut other).await, "he has one");
    }
}
