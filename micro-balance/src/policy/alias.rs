//! Draws by weight in constant time.

use crate::{chance::Chance, endpoint::Endpoint};

/// A table that draws each index as often as its weight says, by one random number and one look-up.
///
/// Walker's alias method as Vose builds it, <https://doi.org/10.1109/32.92917>: every slot holds its own
/// index up to a threshold and one other above it.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    threshold: u32,
    other: u32,
}

impl Alias {
    /// The table of the endpoints' weights; `None` when they are all alike, as then none is needed.
    pub(super) fn of(endpoints: &[Endpoint]) -> Option<Self> {
        let weights: Vec<_> = endpoints.iter().map(|endpoint| endpoint.weight()).collect();
        let differ = weights.windows(2).any(|pair| pair[0] != pair[1]);
        differ.then(|| Self::new(&weights))
    }

    fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let mean = total / weights.len() as f64;
        let mut shares: Vec<f64> = weights.iter().map(|&weight| weight / mean).collect();
        let mut slots: Vec<_> =
            (0..weights.len()).map(|index| Slot { threshold: u32::MAX, other: index as u32 }).collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            (0..weights.len()).partition(|&index| shares[index] < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            slots[poor] = Slot { threshold: (shares[poor] * f64::from(u32::MAX)) as u32, other: rich as u32 };
            shares[rich] -= 1.0 - shares[poor];
            if shares[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { slots: slots.into() }
    }

    /// An index, drawn by weight.
    #[inline]
    pub(super) fn draw(&self, chance: &Chance) -> usize {
        let index = chance.below(self.slots.len());
        match self.slots.get(index) {
            Some(slot) if chance.next() as u32 > slot.threshold => slot.other as usize,
            _ => index,
        }
    }
}
