//! Each endpoint when it is due, the busier the later.

use super::{Context, Policy};
use crate::{
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    endpoint::Endpoint,
    setting::InvalidSetting,
};

/// Each endpoint in turn by weight, where an endpoint weighs the less the more requests it is busy with: its
/// weight divided by its requests and one more, to the power of a bias.
///
/// Envoy's weighted least request,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#weighted-least-request>:
/// it keeps to weights even where everybody is idle, which draws of two do only on average. A pick looks at
/// every endpoint, so it is for up to some hundreds of them.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RequestBias {
    bias: f64,
}

impl RequestBias {
    /// A bias of 1: twice as busy is half the weight.
    pub fn new() -> Self {
        Self { bias: 1.0 }
    }

    /// Minds requests in flight more or less; with 0 not at all, which leaves weighted round robin.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `bias` is 0 or more.
    pub fn bias(bias: f64) -> Result<Self, InvalidSetting> {
        if !(bias >= 0.0 && bias.is_finite()) {
            return Err(InvalidSetting::new("the bias by requests in flight", bias, "0 or more"));
        }
        Ok(Self { bias })
    }

    fn wait(&self, endpoint: &Endpoint) -> f64 {
        let busy = endpoint.in_flight() as f64 + 1.0;
        busy.powf(self.bias) / endpoint.weight()
    }
}

impl Default for RequestBias {
    fn default() -> Self {
        Self::new()
    }
}

/// When each endpoint is due.
#[derive(Debug)]
pub struct Deadlines {
    places: Box<[Place]>,
    turns: AtomicU64,
}

/// The bits of a time, which are in the order of times, and which turn it was given in.
#[derive(Debug)]
struct Place {
    due: AtomicU64,
    turn: AtomicU64,
}

impl Policy for RequestBias {
    type Table = Deadlines;

    fn table(&self, endpoints: &[Endpoint]) -> Deadlines {
        let place = |(turn, endpoint): (usize, &Endpoint)| {
            // The first time a hair early, as Envoy has it: of those due at once, who has been waiting for
            // its first turn goes first.
            let due = 1.0 / (1.0 / self.wait(endpoint) + 1e-13);
            Place { due: AtomicU64::new(due.to_bits()), turn: AtomicU64::new(turn as u64) }
        };
        Deadlines {
            places: endpoints.iter().enumerate().map(place).collect(),
            turns: AtomicU64::new(endpoints.len() as u64),
        }
    }

    fn pick(&self, table: &Deadlines, endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        loop {
            let time = |place: &Place| (place.due.load(Acquire), place.turn.load(Relaxed));
            let times = table.places.iter().map(time).enumerate();
            let (index, (due, _)) = times.min_by_key(|&(_, time)| time)?;
            let next = f64::from_bits(due) + self.wait(endpoints.get(index)?);
            let place = table.places.get(index)?;
            // Another thread may have had the same thought; one of them got it.
            if place.due.compare_exchange(due, next.to_bits(), Release, Relaxed).is_ok() {
                place.turn.store(table.turns.fetch_add(1, Relaxed), Relaxed);
                return Some(index);
            }
        }
    }
}

#[cfg(all(test, micro_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::{Chance, policy::fixture::alike};

    #[test]
    fn loom_two_picks_at_once_take_two_turns() {
        loom::model(|| {
            let endpoints: Arc<[Endpoint]> = alike(2, None).into();
            let table = Arc::new(RequestBias::new().table(&endpoints));
            let pick = |table: &Deadlines, endpoints: &[Endpoint]| {
                RequestBias::new().pick(table, endpoints, &Context::new(&Chance::new(1)))
            };
            let (others, other) = (endpoints.clone(), table.clone());
            let thread = thread::spawn(move || pick(&other, &others).unwrap());
            let mine = pick(&table, &endpoints).unwrap();
            let theirs = thread.join().unwrap();
            // Both are due at once and idle: whoever comes second finds the first one's turn taken.
            assert_ne!(mine, theirs);
            assert_eq!(table.turns.load(Relaxed), 4);
        });
    }
}
