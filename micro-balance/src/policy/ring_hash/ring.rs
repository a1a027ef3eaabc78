//! Points on a circle, each an endpoint's.

/// Points in order, and an index to find one in constant time.
#[derive(Clone, Debug)]
pub struct Ring {
    hashes: Box<[u64]>,
    owners: Box<[u32]>,
    /// The first point in each of equal parts of the circle; hashes are spread evenly, so a part has few.
    parts: Box<[u32]>,
    shift: u32,
    pub(super) weight: f64,
}

impl Ring {
    /// The ring of points, in any order. Of two points in one place the endpoint that stands first has it.
    pub(super) fn new(mut points: Vec<(u64, u32)>, weight: f64) -> Self {
        points.sort_unstable();
        points.dedup_by_key(|point| point.0);
        let bits = (points.len() / 2).next_power_of_two().trailing_zeros().max(1);
        let shift = 64 - bits;
        let mut parts = Vec::with_capacity((1 << bits) + 1);
        for (place, &(hash, _)) in points.iter().enumerate() {
            while parts.len() as u64 <= hash >> shift {
                parts.push(place as u32);
            }
        }
        parts.resize(1 << bits, points.len() as u32);
        let (hashes, owners): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        Self { hashes: hashes.into(), owners: owners.into(), parts: parts.into(), shift, weight }
    }

    /// Every point with the index of its endpoint, in order, to look at.
    pub fn points(&self) -> impl Iterator<Item = (u64, usize)> {
        self.hashes.iter().zip(&self.owners).map(|(&hash, &owner)| (hash, owner as usize))
    }

    /// The place of the first point at or after `hash`, around the circle.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> usize {
        let start = self.parts.get((hash >> self.shift) as usize).map_or(0, |&start| start as usize);
        let after = self.hashes.get(start..).unwrap_or_default();
        let place = start + after.iter().take_while(|&&point| point < hash).count();
        if place < self.hashes.len() { place } else { 0 }
    }

    /// Whose point is at `place`, counted around the circle.
    #[inline]
    pub(super) fn owner(&self, place: usize) -> Option<usize> {
        let owner = *self.owners.get(place.checked_rem(self.owners.len())?)?;
        Some(owner as usize)
    }

    /// The owners from `place` on, once around the circle.
    pub(super) fn walk(&self, place: usize) -> impl Iterator<Item = usize> {
        let (before, after) = self.owners.split_at(place.min(self.owners.len()));
        after.iter().chain(before).map(|&owner| owner as usize)
    }
}
