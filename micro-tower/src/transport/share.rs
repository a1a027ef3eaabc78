//! A number of places that clients share: whoever has fewest of them comes first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// How long a client waits before others owe him a part of what they have: most places come free by themselves.
const PATIENCE: Duration = Duration::from_millis(500);

/// What of the Internet one customer has: an IPv4 address, or the first 64 bits of one of IPv6.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// Whose a request is. All those of whom nothing is known are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Client(Option<IpAddr>);

impl From<Option<IpAddr>> for Client {
    fn from(address: Option<IpAddr>) -> Self {
        Self(address.map(network_of))
    }
}

/// Places for so many at a time. Who is alone may have them all.
#[derive(Debug)]
pub(super) struct Shares(Mutex<State>);

/// A place, or a turn in the queue for one; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Shares>,
    client: Client,
    number: u64,
}

/// What clients have and want, beside an equal share for each of those that have or want any.
pub(super) struct Balance {
    /// How many places clients that have less than their share have waited for long enough.
    pub(super) owed: usize,
    /// How many some have beyond it.
    pub(super) beyond: HashMap<Client, usize>,
}

#[derive(Debug)]
struct State {
    most: usize,
    held: usize,
    /// Those that have a place, or wait for one.
    clients: HashMap<Client, Claims>,
    /// Those that wait: who has fewest first, and then who came first.
    queue: BTreeSet<(usize, u64, Client)>,
    last_number: u64,
}

#[derive(Debug, Default)]
struct Claims {
    held: usize,
    waiting: BTreeMap<u64, Turn>,
}

#[derive(Debug)]
struct Turn {
    since: Instant,
    granted: Arc<Notify>,
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        let (clients, queue, last_number) = Default::default();
        Self(Mutex::new(State { most, held: 0, clients, queue, last_number }))
    }

    /// A place for `client`, once there is one.
    pub(super) async fn place(self: &Arc<Self>, client: Client) -> Place {
        let (number, granted) = self.state().enter(client);
        let place = Place { shares: self.clone(), client, number };
        if let Some(granted) = granted {
            granted.notified().await;
        }
        place
    }

    /// From now on there are so many places. Who has one keeps it.
    pub(super) fn resize(&self, most: usize) {
        let mut state = self.state();
        if state.most != most {
            state.most = most;
            state.grant();
        }
    }

    pub(super) fn balance(&self) -> Balance {
        let state = self.state();
        let share = (state.most / state.clients.len().max(1)).max(1);
        let owed = state.clients.values().map(|claims| {
            let patient = claims.waiting.values().take(share.saturating_sub(claims.held));
            patient.take_while(|turn| turn.since.elapsed() >= PATIENCE).count()
        });
        let beyond = state.clients.iter().filter(|(_, claims)| claims.held > share);
        Balance {
            owed: owed.sum(),
            beyond: beyond.map(|(client, claims)| (*client, claims.held - share)).collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn is_of(&self, shares: &Arc<Shares>) -> bool {
        Arc::ptr_eq(&self.shares, shares)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shares.state().leave(self.client, self.number);
    }
}

impl State {
    /// A place, or a turn: then what is heard once that has come.
    fn enter(&mut self, client: Client) -> (u64, Option<Arc<Notify>>) {
        self.last_number += 1;
        let number = self.last_number;
        if self.held < self.most {
            self.held += 1;
            self.change(client, |claims| claims.held += 1);
            return (number, None);
        }
        let granted = Arc::new(Notify::new());
        let turn = Turn { since: Instant::now(), granted: granted.clone() };
        self.change(client, |claims| drop(claims.waiting.insert(number, turn)));
        (number, Some(granted))
    }

    /// Gives up the turn `number` of `client`, or the place that came of it.
    fn leave(&mut self, client: Client, number: u64) {
        let mut held = false;
        self.change(client, |claims| {
            held = claims.waiting.remove(&number).is_none();
            claims.held -= usize::from(held);
        });
        self.held -= usize::from(held);
        self.grant();
    }

    /// Has those who are next take the places that are free.
    fn grant(&mut self) {
        while self.held < self.most
            && let Some((_, number, next)) = self.queue.first().copied()
        {
            self.held += 1;
            self.change(next, |claims| {
                claims.held += 1;
                if let Some(turn) = claims.waiting.remove(&number) {
                    turn.granted.notify_one();
                }
            });
        }
    }

    /// Changes what `client` has and wants, and its place in the queue with that.
    fn change(&mut self, client: Client, change: impl FnOnce(&mut Claims)) {
        let claims = self.clients.entry(client).or_default();
        if let Some(turn) = claims.turn(client) {
            self.queue.remove(&turn);
        }
        change(claims);
        match claims.turn(client) {
            Some(turn) => drop(self.queue.insert(turn)),
            None if claims.held == 0 => drop(self.clients.remove(&client)),
            None => {}
        }
    }
}

impl Claims {
    fn turn(&self, client: Client) -> Option<(usize, u64, Client)> {
        Some((self.held, *self.waiting.keys().next()?, client))
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    fn client(address: &str) -> Client {
        Some(address.parse().unwrap()).into()
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:0:0:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_ne!(client("192.0.2.1"), None.into());
    }

    #[test]
    fn who_has_fewest_comes_first_and_then_who_came_first() {
        let shares = Arc::new(Shares::new(3));
        let [many, one, none] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(client);
        let take = |client| assert_ready!(task::spawn(shares.place(client)).poll());
        let mut held = vec![take(many), take(many)];
        let _held = take(one);
        let mut turns = [many, many, one, none].map(|client| task::spawn(shares.place(client)));
        turns.iter_mut().for_each(|turn| assert_pending!(turn.poll()));
        let [ref mut first, ref mut second, ref mut third, ref mut last] = turns;

        drop(held.pop());
        let _newcomer = assert_ready!(last.poll());
        // All have one now, and the first to come is of those who had most.
        let balance = shares.balance();
        assert!(balance.owed == 0 && balance.beyond.is_empty());
        drop(held.pop());
        held.push(assert_ready!(first.poll()));
        assert_pending!(second.poll());
        assert_pending!(third.poll());
    }

    #[test]
    fn who_gives_up_leaves_nothing_behind() {
        let shares = Arc::new(Shares::new(1));
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(client);
        let place = assert_ready!(task::spawn(shares.place(one)).poll());
        let (mut gone, mut late) = (task::spawn(shares.place(other)), task::spawn(shares.place(other)));
        assert_pending!(gone.poll());
        assert_pending!(late.poll());
        drop(gone);
        drop(place);
        // It is his, and he does not come for it.
        drop(late);
        assert!(shares.state().clients.is_empty());
        assert_ready!(task::spawn(shares.place(one)).poll());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_has_all_of_it_and_owes_others_their_part_once_they_have_waited() {
        let shares = Arc::new(Shares::new(8));
        let [greedy, other, third] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(client);
        let _held: Vec<_> = (0..8).map(|_| assert_ready!(task::spawn(shares.place(greedy)).poll())).collect();
        assert!(shares.balance().beyond.is_empty());
        let mut turns =
            [other, other, other, other, other, third].map(|client| task::spawn(shares.place(client)));
        turns[..1].iter_mut().for_each(|turn| assert_pending!(turn.poll()));
        assert_eq!(shares.balance().owed, 0, "he has not waited");
        tokio::time::advance(PATIENCE).await;
        let balance = shares.balance();
        assert_eq!((balance.owed, balance.beyond), (1, HashMap::from([(greedy, 4)])));
        turns[1..].iter_mut().for_each(|turn| assert_pending!(turn.poll()));
        tokio::time::advance(PATIENCE).await;
        let balance = shares.balance();
        assert_eq!((balance.owed, balance.beyond), (3, HashMap::from([(greedy, 6)])), "two of each at most");
    }

    #[test]
    fn where_there_is_more_room_those_who_wait_have_it() {
        let shares = Arc::new(Shares::new(1));
        let one = client("192.0.2.1");
        let _place = assert_ready!(task::spawn(shares.place(one)).poll());
        let (mut second, mut third) = (task::spawn(shares.place(one)), task::spawn(shares.place(one)));
        assert_pending!(second.poll());
        assert_pending!(third.poll());
        shares.resize(2);
        let granted = assert_ready!(second.poll());
        assert_pending!(third.poll());
        shares.resize(1);
        drop(granted);
        assert_pending!(third.poll(), "there is less again");
    }
}
